"""Where a browser may be sent after signing in. Pure."""

import string
from urllib.parse import quote, unquote

HOME = "/services/kqi/"
_LONGEST = 2000
_DECODINGS = 3


def way_on(asked: str) -> str:
    """Return `asked` if it is a path of this platform however often it is decoded on the way, else our front page."""
    path = asked.split("?", 1)[0].split("#", 1)[0]
    decoded = unquote(path)
    for _ in range(_DECODINGS):
        path, decoded = decoded, unquote(decoded)
    honest = path == decoded and _is_plain(path) and all(map(_is_shown, asked + path))
    return quote(asked, safe=string.punctuation) if honest and len(asked) < _LONGEST else HOME


def _is_plain(path: str) -> bool:
    segments = path.split("/")
    named = not any(segment in {".", ".."} for segment in segments)
    return path.startswith("/") and "//" not in path and named and not any(char in "\\:" for char in path)


def _is_shown(char: str) -> bool:
    return char.isprintable() and not char.isspace()
