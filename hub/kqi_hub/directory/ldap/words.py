"""What goes into filters and names of entries, and how names are compared. Pure."""

from collections.abc import Iterable
from functools import lru_cache

# RFC 4515, and `/` for servers that take a base and a filter from one address.
_IN_FILTERS = {ord(sign): f"\\{ord(sign):02x}" for sign in "\\*()\0/"}
_IN_NAMES = {ord(sign): f"\\{ord(sign):02x}" for sign in '\\,+"<>;=\0'}
_BACKSLASH, _HEX = ord("\\"), frozenset(b"0123456789abcdefABCDEF")


def in_filter(value: str) -> str:
    """Return a value as it stands in a filter: whatever it holds, it matches itself alone."""
    return _text(value).translate(_IN_FILTERS)


def in_filter_raw(value: bytes) -> str:
    """Return bytes as they stand in a filter."""
    return "".join(f"\\{byte:02x}" for byte in value)


def in_name(value: str) -> str:
    """Return a value as it stands in the name of an entry (RFC 4514)."""
    text = _text(value).translate(_IN_NAMES)
    if text[:1] in {" ", "#"}:
        text = f"\\{ord(text[0]):02x}{text[1:]}"
    return f"{text[:-1]}\\20" if text.endswith(" ") else text


def can_be_asked(value: str) -> bool:
    """Return whether a text can be sent at all: it is one, not empty, without NUL and without halves of letters."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def any_of(filters: Iterable[str]) -> str:
    """Return a filter that matches what one of them does."""
    listed = sorted(set(filters))
    return listed[0] if len(listed) == 1 else f"(|{''.join(listed)})"


@lru_cache(maxsize=50_000)
def comparable(dn: str) -> str:
    """Return the name of an entry so that two of the same entry are equal."""
    return ",".join(parts(dn))


@lru_cache(maxsize=50_000)
def parts(dn: str) -> tuple[str, ...]:
    """Return the parts of the name of an entry, its own first, so that they are equal where they mean the same."""
    return tuple("+".join(sorted(map(_comparable_part, _split(rdn, "+")))) for rdn in _split(dn, ","))


def is_name(dn: str) -> bool:
    """Return whether a text can be the name of an entry at all."""
    return all("=" in part for part in _split(dn, ","))


def suffix_of(dn: str) -> str:
    """Return the tree that an entry lies in: the `dc=` at the end of its name, else the name itself."""
    kept = [rdn.strip() for rdn in _split(dn, ",") if rdn.strip().lower().startswith("dc=")]
    return ",".join(kept) or dn


def _split(dn: str, sign: str) -> list[str]:
    """Split at each `sign` that is not escaped."""
    parts, escaped = [""], False
    for letter in dn:
        if letter == sign and not escaped:
            parts.append("")
            continue
        escaped = letter == "\\" and not escaped
        parts[-1] += letter
    return parts


def _comparable_part(part: str) -> str:
    kind, _, value = part.partition("=")
    return f"{kind.strip().lower()}={in_name(' '.join(_plain(value.strip()).lower().split()))}"


def _plain(value: str) -> str:
    """Undo what `in_name` does, and what servers do in its place."""
    plain, at, raw = bytearray(), 0, value.encode("utf-8", "surrogatepass")
    while at < len(raw):
        pair = raw[at + 1 : at + 3]
        if raw[at] != _BACKSLASH or not pair:
            plain.append(raw[at])
            at += 1
        elif len(pair) == 2 and set(pair) <= _HEX:
            plain.append(int(pair, 16))
            at += 3
        else:
            plain.append(pair[0])
            at += 2
    return plain.decode("utf-8", "replace")


def _text(value: str) -> str:
    # Lists and bytes slip through `translate` of other kinds, and with them what it was to escape.
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {type(value).__name__}")
    return value
