"""What a tenant is given beyond its members, in the words of Cube Studio's `expand`: read, checked, written. Pure.

Whatever is not known is kept as it is. `written(parsed(x))` means what `x` means, and `parsed(written(e)) == e`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kqi_hub.errors import Invalid

KNOWN = ("cluster", "node_selector", "org", "volume_mount", "quota")
_LABEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/-]{0,252})\s*=\s*([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MOUNT = re.compile(r"(?P<source>[^()（）,;:\s]+)(?:[(（](?P<kind>[^()（）]*)[)）])?\s*:\s*(?P<path>\S+)")
_SIZE = re.compile(r"(\d{1,6})([MG])(?:i?B?)?", re.IGNORECASE | re.ASCII)
_BYTES = {"M": 1, "G": 1024}


class MountKind(StrEnum):
    """Where what is mounted comes from."""

    OWN = "pvc"  # a claim, with a folder of the person's own in it
    SHARED = "pvc-share"
    STORAGE = "storage"
    HOST = "hostpath"
    CONFIG = "configmap"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    MEMORY = "memory"


class Span(StrEnum):
    """The work that a limit is about."""

    ALL = "all"
    NOTEBOOK = "notebook"
    JUPYTER = "jupyter"
    PIPELINE = "pipeline"
    SERVICE = "service"
    AUTOML = "automl"
    AIHUB = "aihub"


class Thing(StrEnum):
    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"


class Bound(StrEnum):
    SINGLE = "single"  # of one request
    CONCURRENT = "concurrent"  # of all at work at once
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    kind: MountKind
    path: str

    @property
    def mib(self) -> int:
        """Return how large a place in memory is."""
        found = _SIZE.fullmatch(self.source)
        return int(found[1]) * _BYTES[found[2].upper()] if found else 0


@dataclass(frozen=True, slots=True)
class Quota:
    span: Span
    thing: Thing
    bound: Bound
    value: str  # cores, cards, or an amount of memory as `16G`

    @property
    def amount(self) -> int:
        """Return thousandths of cores, MiB or cards."""
        if self.thing is Thing.MEMORY:
            found = _SIZE.fullmatch(self.value)
            return int(found[1]) * _BYTES[found[2].upper()] if found else int(self.value) * 1024
        return round(float(self.value) * 1000) if self.thing is Thing.CPU else int(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand:
    cluster: str | None = None
    node_selector: tuple[tuple[str, str], ...] = ()
    org: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    quota: tuple[Quota, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)


def parsed(given: Mapping[str, Any]) -> Expand:
    """Raises Invalid, which says of a wrong setting the key, the place in it (from 1) and the reason."""
    for key in KNOWN:
        if key in given and not isinstance(given[key], str):
            raise Invalid("expand_not_a_text", key=key)
    cluster = given.get("cluster")
    if cluster is not None and not _WORD.fullmatch(cluster):
        raise _wrong("expand_cluster_syntax", "cluster", 1, cluster)
    return Expand(
        cluster=cluster,
        node_selector=_selector(given.get("node_selector", "")),
        org=_groups(given.get("org", "")),
        mounts=mounts(given.get("volume_mount", "")),
        quota=quotas(given.get("quota", "")),
        others={key: value for key, value in given.items() if key not in KNOWN},
    )


def written(expand: Expand) -> dict[str, Any]:
    """Return it as `parsed` reads it, in the plainest form."""
    texts = {
        "cluster": expand.cluster or "",
        "node_selector": ";".join(f"{key}={value}" for key, value in expand.node_selector),
        "org": ",".join(expand.org),
        "volume_mount": ",".join(f"{mount.source}({mount.kind}):{mount.path}" for mount in expand.mounts),
        "quota": ";".join(f"{q.span},{q.thing},{q.bound},{q.value}" for q in expand.quota),
    }
    return {**{key: text for key, text in texts.items() if text}, **expand.others}


def mounts(text: str) -> tuple[Mount, ...]:
    """Read `source(kind):/path` between `,` or `;`; without a kind it is a folder of the nodes."""
    found: list[Mount] = []
    for at, item in _items(text, ",;\n"):
        parts = _MOUNT.fullmatch(item)
        if parts is None:
            raise _wrong("expand_mount_syntax", "volume_mount", at, item)
        mount = Mount(parts["source"], _mount_kind(parts["kind"], at, item), parts["path"])
        if not mount.path.startswith("/") or ".." in mount.path.split("/"):
            raise _wrong("expand_mount_path", "volume_mount", at, item)
        if mount.kind is MountKind.MEMORY and not mount.mib:
            raise _wrong("expand_mount_size", "volume_mount", at, item)
        if any(other.path == mount.path for other in found):
            raise _wrong("expand_mount_path_twice", "volume_mount", at, item)
        if any((other.source, other.kind) == (mount.source, mount.kind) for other in found):
            raise _wrong("expand_mount_source_twice", "volume_mount", at, item)
        found.append(mount)
    return tuple(found)


def quotas(text: str) -> tuple[Quota, ...]:
    """Read `span,thing,bound,value` between `;` or line ends."""
    found: list[Quota] = []
    for at, item in _items(text, ";\n"):
        parts = [part.strip() for part in item.split(",")]
        if len(parts) != 4:
            raise _wrong("expand_quota_syntax", "quota", at, item)
        for part, words in zip(parts, (Span, Thing, Bound), strict=False):
            if part not in list(words):
                raise _wrong("expand_quota_word", "quota", at, part, known=", ".join(words))
        quota = Quota(Span(parts[0]), Thing(parts[1]), Bound(parts[2]), parts[3])
        if not _is_amount(quota):
            raise _wrong("expand_quota_value", "quota", at, item)
        if any((q.span, q.thing, q.bound) == (quota.span, quota.thing, quota.bound) for q in found):
            raise _wrong("expand_quota_twice", "quota", at, item)
        found.append(quota)
    return tuple(found)


def node_selectors(given: Sequence[str]) -> tuple[str, ...]:
    """Check names of partitions and `label=value`. Raises Invalid."""
    for number, text in enumerate(given, 1):
        if not _WORD.fullmatch(text) and not _LABEL.fullmatch(text):
            raise _wrong("node_selector_syntax", "nodes", number, text)
    if len(set(given)) < len(given):
        raise _wrong("node_selector_twice", "nodes", len(given), ", ".join(given))
    return tuple(given)


def _selector(text: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for at, item in _items(text, ";,\n"):
        parts = _LABEL.fullmatch(item)
        if parts is None:
            raise _wrong("expand_selector_syntax", "node_selector", at, item)
        if parts[1] in found:
            raise _wrong("expand_selector_twice", "node_selector", at, item)
        found[parts[1]] = parts[2] or ""
    return tuple(found.items())


def _groups(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for at, item in _items(text, ","):
        if not _WORD.fullmatch(item) or item in found:
            raise _wrong("expand_org_syntax", "org", at, item)
        found.append(item)
    return tuple(found)


def _mount_kind(text: str | None, at: int, item: str) -> MountKind:
    if text is None:
        return MountKind.HOST
    if text.strip() not in list(MountKind):
        raise _wrong("expand_mount_kind", "volume_mount", at, item, known=", ".join(MountKind))
    return MountKind(text.strip())


def _is_amount(quota: Quota) -> bool:
    if quota.thing is Thing.MEMORY:
        return bool(_SIZE.fullmatch(quota.value) or re.fullmatch(r"\d{1,6}", quota.value))
    whole = r"\d{1,6}" if quota.thing is Thing.GPU else r"\d{1,6}(\.\d{1,3})?"
    return re.fullmatch(whole, quota.value, re.ASCII) is not None


def _items(text: str, between: str) -> Iterator[tuple[int, str]]:
    """Yield what stands between the signs, with its place in the text from 1."""
    for found in re.finditer(f"[^{between}]+", text):
        item = found[0].strip()
        if item:
            yield found.start() + found[0].index(item) + 1, item


def _wrong(code: str, key: str, at: int, item: str, **more: object) -> Invalid:
    return Invalid(code, key=key, position=at, item=item[:200], **more)
