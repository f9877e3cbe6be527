"""Nodes on paper: their pods run at once and do nothing, as many as one likes."""

from pathlib import Path

from tests.cluster.harness import build
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.control_plane import wait

_STAGES = Path(__file__).with_name("simulated.yaml")
_NODE = """
apiVersion: v1
kind: Node
metadata: {{name: simulated-{number}, labels: {{kqi-simulated: "true"}}}}
---
"""


def add_nodes(cluster: Cluster, count: int) -> None:
    """Add simulated nodes and wait until they are ready. Raises `CannotBuild` or `NotReady`."""
    (kwok,) = build.binaries(["kwok"])
    config = cluster.control.authority.folder / "admin.kubeconfig"
    cluster.control.room.spawn(
        "kwok",
        *(kwok / "kwok", "--kubeconfig", config, "--config", _STAGES, "--cidr=10.128.0.0/10"),
        # They say that they live, else they and their pods are told not to be ready.
        *("--manage-nodes-with-label-selector=kqi-simulated=true", "--node-lease-duration-seconds=40"),
    )
    cluster.kubectl("apply", "-f", "-", text="".join(_NODE.format(number=number) for number in range(1, count + 1)))
    told = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"

    def ready() -> bool:
        said = cluster.kubectl("get", "nodes", "-l", "kqi-simulated=true", "-o", told, check=False)
        return said.split() == ["True"] * count

    wait("simulated nodes", ready, cluster.control.room.log("kwok"))
