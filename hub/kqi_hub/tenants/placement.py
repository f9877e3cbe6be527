"""Where a tenant's work may run, on what and with how much: what an administrator sets, and what it does here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kqi_hub.audit.act import Act
from kqi_hub.errors import Invalid
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import TenantRow
from kqi_hub.settings import Settings, Volume
from kqi_hub.tenants import access
from kqi_hub.tenants.expand import Bound, Expand, Mount, MountKind, Quota, Span, node_selectors, parsed

# The folders of people that every run has anyway, whatever the claim behind them is called elsewhere.
_ALREADY_THERE = ("/mnt", "/archives")
_PARTITION = "kqi.io/partition"
_SHM = "/dev/shm"  # noqa: S108 - a place in the view of a workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """`why` is a key of the catalogue."""

    key: str
    value: str
    enforced: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What can be honoured here."""

    cluster: str
    on_cluster: bool
    volumes: Sequence[Volume]

    @classmethod
    def of(cls, settings: Settings) -> "Platform":
        kind = settings.engine.kind
        return cls(cluster=settings.tenants.cluster, on_cluster=kind == "kubernetes", volumes=settings.volumes)


async def place(
    act: Act, tenant_name: str, expand: Mapping[str, Any], nodes: Sequence[str], here: Platform
) -> TenantRow:
    """Keep the settings of a tenant. Raises Invalid for what is wrong, and for what could not be honoured here."""
    tenant = await access.governed(act, tenant_name, Permission.TENANTS_MANAGE)
    check(parsed(expand), tenant.name, here)
    tenant.nodes = json.dumps(list(node_selectors(nodes)))
    tenant.expand = json.dumps(dict(expand), ensure_ascii=False)
    await act.session.flush()
    await act.note("tenant.place", f"tenant/{tenant.name}", tenant=tenant.id, expand=dict(expand), nodes=list(nodes))
    return tenant


def check(expand: Expand, tenant: str, here: Platform) -> None:
    if expand.cluster not in {None, here.cluster}:
        raise Invalid("expand_cluster_unknown", name=expand.cluster, known=here.cluster)
    for mount in expand.mounts:
        if mount.kind is MountKind.MEMORY:
            if mount.path != _SHM:
                raise Invalid("expand_memory_place", path=mount.path)
        elif not _is_there(mount) and _volume(mount, tenant, here) is None:
            raise Invalid("expand_mount_not_here", source=mount.source, kind=mount.kind.value)
    for quota in expand.quota:
        if not _is_enforced(quota):
            raise Invalid("expand_quota_not_here", item=f"{quota.span},{quota.thing},{quota.bound},{quota.value}")


def effects(tenant: TenantRow, here: Platform) -> list[Effect]:
    """Say of each setting whether it is acted on here."""
    return list(_effects(read(tenant.expand), json.loads(tenant.nodes), here))


@lru_cache(maxsize=1024)
def read(text: str) -> Expand:
    """Return the settings that were kept."""
    return parsed(json.loads(text))


def volumes(text: str, tenant: str, here: Platform) -> list[tuple[Volume, str]]:
    """Return the volumes of an administrator that the settings mount, each with the place where it is seen."""
    found = [(_volume(mount, tenant, here), mount.path) for mount in read(text).mounts]
    return [(volume, path) for volume, path in found if volume is not None]


def shm_mib(text: str) -> int | None:
    """Return how large the memory folder of runs may be; None: as large as the engine has it."""
    return next((mount.mib for mount in read(text).mounts if mount.kind is MountKind.MEMORY), None)


def labels(expand_text: str, nodes_text: str) -> dict[str, tuple[str, ...]]:
    """Return label of a node → values that it may have for work of the tenant."""
    expand = read(expand_text)
    found: dict[str, list[str]] = {}
    for selector in json.loads(nodes_text):
        label, equals, value = selector.partition("=")
        found.setdefault(label if equals else _PARTITION, []).append(value if equals else label)
    for label, value in expand.node_selector:
        found[label] = [value]
    if expand.org:
        found["org"] = list(expand.org)
    return {label: tuple(values) for label, values in found.items()}


def single(text: str, *, notebook: bool) -> list[Quota]:
    """Return the limits on one request."""
    spans = {Span.ALL, *({Span.NOTEBOOK, Span.JUPYTER} if notebook else {Span.PIPELINE})}
    return [quota for quota in read(text).quota if quota.bound is Bound.SINGLE and quota.span in spans]


def concurrent(text: str) -> list[Quota]:
    """Return the limits on all that is at work at once."""
    return [quota for quota in read(text).quota if quota.bound is Bound.CONCURRENT]


def _effects(expand: Expand, nodes: Sequence[str], here: Platform) -> Iterator[Effect]:
    where = "effect_nodes" if here.on_cluster else "effect_nodes_not_here"
    if expand.cluster is not None:
        yield Effect(key="cluster", value=expand.cluster, enforced=True, why="effect_cluster")
    for label, value in expand.node_selector:
        yield Effect(key="node_selector", value=f"{label}={value}", enforced=here.on_cluster, why=where)
    if expand.org:
        yield Effect(key="org", value=",".join(expand.org), enforced=here.on_cluster, why=where)
    for selector in nodes:
        yield Effect(key="nodes", value=selector, enforced=here.on_cluster, why=where)
    for mount in expand.mounts:
        text = f"{mount.source}({mount.kind}):{mount.path}"
        memory = mount.kind is MountKind.MEMORY
        why = "effect_mount_there" if _is_there(mount) else "effect_mount"
        if memory:
            why = "effect_memory" if here.on_cluster else "effect_memory_not_here"
        yield Effect(key="volume_mount", value=text, enforced=here.on_cluster or not memory, why=why)
    for quota in expand.quota:
        text = f"{quota.span},{quota.thing},{quota.bound},{quota.value}"
        yield Effect(key="quota", value=text, enforced=True, why=f"effect_quota_{quota.bound.value}")
    for key in expand.others:
        yield Effect(key=key, value=str(expand.others[key])[:200], enforced=False, why="effect_unknown")


def _is_there(mount: Mount) -> bool:
    return mount.kind is MountKind.OWN and mount.path.rstrip("/") in _ALREADY_THERE


def _is_enforced(quota: Quota) -> bool:
    if quota.bound is Bound.SINGLE:
        return quota.span in {Span.ALL, Span.NOTEBOOK, Span.JUPYTER, Span.PIPELINE}
    return quota.bound is Bound.CONCURRENT and quota.span is Span.ALL


def _volume(mount: Mount, tenant: str, here: Platform) -> Volume | None:
    """Return the volume of an administrator that is meant, if this tenant may see it and at such a place."""
    for volume in here.volumes:
        if volume.tenants and tenant not in volume.tenants:
            continue
        named = mount.kind in {MountKind.SHARED, MountKind.STORAGE} and mount.source in {volume.name, volume.claim}
        folder = mount.kind is MountKind.HOST and volume.path is not None and mount.source == str(volume.path)
        if (named or folder) and volume.may_be_seen_at(mount.path):
            return volume
    return None
