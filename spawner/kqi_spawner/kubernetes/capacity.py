"""What the nodes can give out. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kqi_spawner.kubernetes.settings import Cards, KubernetesSettings, Toleration
from kqi_spawner.status import Capacity, GpuKind

_QUANTITY = re.compile(r"([0-9.]+)(m|[kKMGTPE]i?)?")
_FACTORS = {"m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def total(nodes: Iterable[dict[str, Any]], of: KubernetesSettings) -> Capacity:
    """Return the sum over nodes that take our pods; where only a part of what a workload gets is kept for it, more."""
    each = tuple(_one(node, of) for node in nodes if _ready(node) and not node.get("spec", {}).get("unschedulable"))
    cards = {kind: sum(len(_indexes(node, kind)) for node in each) for kind in of.cards}
    return Capacity(
        cpu_milli=sum(node.cpu_milli for node in each),
        memory_mib=sum(node.memory_mib for node in each),
        gpus=_kinds(cards, of),
        nodes=tuple(node for node in each if node.cpu_milli),
    )


def _one(node: dict[str, Any], of: KubernetesSettings) -> Capacity:
    """Return what one node has for our pods."""
    has = node["status"].get("allocatable", {})
    taken = [kind for kind, asked in of.cards.items() if _takes(node, of, asked)]
    if not taken and not _takes(node, of, None):
        return Capacity(cpu_milli=0, memory_mib=0)
    return Capacity(
        cpu_milli=int(quantity(has.get("cpu", "0")) * 1000 / of.cpu_request_share),
        memory_mib=int(quantity(has.get("memory", "0")) / 2**20 / of.memory_request_share),
        gpus=_kinds({kind: int(quantity(has.get(of.cards[kind].resource, "0"))) for kind in taken}, of),
    )


def _kinds(counts: Mapping[str, int], of: KubernetesSettings) -> tuple[GpuKind, ...]:
    return tuple(
        GpuKind(name=kind, indexes=tuple(range(count)), memory_mib=of.cards[kind].memory_mib)
        for kind, count in counts.items()
    )


def _indexes(node: Capacity, kind: str) -> tuple[int, ...]:
    return next((one.indexes for one in node.gpus if one.name == kind), ())


def quantity(text: str) -> float:
    """Return a Kubernetes quantity as a number. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"not a quantity: {text!r}")
    number, unit = found.groups()
    return float(number) * (_BINARY.get(unit) or _FACTORS.get(unit, 1.0) if unit else 1.0)


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _takes(node: dict[str, Any], of: KubernetesSettings, cards: Cards | None) -> bool:
    """Whether it takes a workload, by its labels and its taints; `cards` are those that the workload has."""
    wanted = {**of.node_selector, **(cards.node_selector if cards else {})}
    tolerations = (*of.tolerations, *(cards.tolerations if cards else ()))
    taints = node.get("spec", {}).get("taints") or ()
    if not wanted.items() <= node["metadata"].get("labels", {}).items():
        return False
    return all(
        one["effect"] == "PreferNoSchedule" or any(_tolerates(toleration, one) for toleration in tolerations)
        for one in taints
    )


def _tolerates(toleration: Toleration, taint: dict[str, Any]) -> bool:
    return (
        toleration.key == taint["key"]
        and (toleration.value is None or toleration.value == taint.get("value", ""))
        and toleration.effect in {"", taint["effect"]}
    )
