"""What the nodes can give out. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kqi_spawner.kubernetes.settings import Cards
from kqi_spawner.status import Capacity, GpuKind

_QUANTITY = re.compile(r"([0-9.]+)(m|[kKMGTPE]i?)?")
_FACTORS = {"m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def total(nodes: Iterable[dict[str, Any]], kinds: Mapping[str, Cards]) -> Capacity:
    """Return the sum over nodes that take new pods."""
    cpu, memory = 0.0, 0.0
    cards = dict.fromkeys(kinds, 0)
    for node in nodes:
        if node.get("spec", {}).get("unschedulable") or not _ready(node):
            continue
        has = node["status"].get("allocatable", {})
        cpu += quantity(has.get("cpu", "0"))
        memory += quantity(has.get("memory", "0"))
        marks = node["metadata"].get("labels", {})
        for kind, asked in kinds.items():
            if asked.node_selector.items() <= marks.items():
                cards[kind] += int(quantity(has.get(asked.resource, "0")))
    return Capacity(
        cpu_milli=int(cpu * 1000),
        memory_mib=int(memory / 2**20),
        gpus=tuple(
            GpuKind(name=kind, indexes=tuple(range(count)), memory_mib=kinds[kind].memory_mib)
            for kind, count in cards.items()
        ),
    )


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
