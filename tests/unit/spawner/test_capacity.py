"""What the nodes of a cluster can give out, to those whom they take."""

from dataclasses import replace
from typing import Any

import pytest

from kqi_spawner.kubernetes.capacity import total
from kqi_spawner.kubernetes.settings import Cards, Toleration
from tests.unit.spawner.samples import PLAIN

_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
_CARDS = {"card": Cards(tolerations=(Toleration(key="nvidia.com/gpu"),))}
OF = replace(PLAIN, cards=_CARDS)


def node(*taints: dict[str, str], labels: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels or {}},
        "spec": {"taints": list(taints), **changes},
        "status": {
            "allocatable": {"cpu": "7500m", "memory": "8Gi", "nvidia.com/gpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def found(*nodes: dict[str, Any], **changes: Any) -> tuple[int, int, int]:
    made = total(nodes, replace(OF, **changes))
    return made.cpu_milli, made.memory_mib, sum(len(kind.indexes) for kind in made.gpus)


@pytest.mark.parametrize(
    ("one", "changes", "gives"),
    [
        (node(), {}, (7500, 8192, 4)),
        (node(unschedulable=True), {}, (0, 0, 0)),
        # Those with cards may go there, so that its cores are of use.
        (node(_TAINT), {}, (7500, 8192, 4)),
        (node(_TAINT), {"cards": {}}, (0, 0, 0)),
        (node({**_TAINT, "effect": "PreferNoSchedule"}), {"cards": {}}, (7500, 8192, 0)),
        (node({**_TAINT, "key": "other"}), {}, (0, 0, 0)),
        (node({"key": "other", "effect": "NoExecute"}), {"tolerations": (Toleration(key="other"),)}, (7500, 8192, 4)),
        (node(_TAINT), {"cards": {}, "tolerations": (Toleration(key="nvidia.com/gpu", value="no"),)}, (0, 0, 0)),
        (
            node(_TAINT),
            {"cards": {}, "tolerations": (Toleration(key="nvidia.com/gpu", effect="NoExecute"),)},
            (0, 0, 0),
        ),
        (node(), {"node_selector": {"pool": "work"}}, (0, 0, 0)),
        (node(labels={"pool": "work"}), {"node_selector": {"pool": "work"}}, (7500, 8192, 4)),
        # A part is kept for each, so more of them fit; cards are never shared so.
        (node(), {"cpu_request_share": 0.5, "memory_request_share": 0.25}, (15000, 32768, 4)),
    ],
)
def test_a_node_gives_what_it_has_to_those_whom_it_takes(
    one: dict[str, Any], changes: dict[str, Any], gives: tuple[int, int, int]
) -> None:
    assert found(one, **changes) == gives


def test_a_node_that_is_away_gives_nothing() -> None:
    away = node()
    away["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert found(away, node()) == (7500, 8192, 4)


def test_what_one_node_has_is_told_apart_from_the_sum() -> None:
    nodes = total([node(), node(), node({**_TAINT, "key": "other"}), node(unschedulable=True)], OF).nodes
    assert [(one.cpu_milli, [len(kind.indexes) for kind in one.gpus]) for one in nodes] == [(7500, [4]), (7500, [4])]
