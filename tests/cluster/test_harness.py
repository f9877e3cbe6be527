"""The cluster that the other tests stand on is a real one, and leaves the machine as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness.cluster import BUSYBOX_IMAGE, PROBE_IMAGE, Cluster
from tests.cluster.harness.network import METADATA, OUTSIDE

_DENY = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}


def pod(name: str, image: str, *words: str, **spec: Any) -> dict[str, Any]:
    resources = spec.pop("resources", {})
    container = {"name": "main", "image": image, "command": list(words), "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def until(ask: Callable[[], Any], *, within_s: float = 60) -> Any:
    """Ask until the answer is one, and return it."""
    end = time.monotonic() + within_s
    while not (found := ask()):
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.1)
    return found


def ended(cluster: Cluster, name: str) -> tuple[int, str]:
    """Return exit code and output of a pod once it has ended."""

    def look() -> Any:
        states = cluster.get("pod", name)["status"].get("containerStatuses", [])
        return states and states[0]["state"].get("terminated")

    code = until(look)["exitCode"]
    return code, cluster.kubectl("logs", name)


def ran(cluster: Cluster, name: str, image: str, *words: str, **spec: Any) -> tuple[int, str]:
    cluster.kubectl("apply", "-f", "-", text=json.dumps(pod(name, image, *words, **spec)))
    try:
        return ended(cluster, name)
    finally:
        cluster.kubectl("delete", "pod", name, "--wait=false")


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> str:
    """A pod that listens on port 7000 of the second node; returns its address."""
    made = pod("server", PROBE_IMAGE, "/probe", "serve", "7000", nodeName="node2")
    cluster.kubectl("apply", "-f", "-", text=json.dumps(made))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=60s")
    return str(cluster.get("pod", "server")["status"]["podIP"])


def test_a_job_runs_and_tells_its_exit_code(cluster: Cluster) -> None:
    assert ran(cluster, "three", BUSYBOX_IMAGE, "/bin/sh", "-c", "echo out; exit 3") == (3, "out\n")


def test_names_are_known_inside_of_pods(cluster: Cluster) -> None:
    code, said = ran(cluster, "asks", PROBE_IMAGE, "/probe", "lookup", "kubernetes.default.svc.cluster.local")
    assert (code, said) == (0, "10.96.0.1\n")


def test_cards_are_given_out_and_run_short(cluster: Cluster) -> None:
    two = {"limits": {"nvidia.com/gpu": 2}}
    code, said = ran(cluster, "two", BUSYBOX_IMAGE, "/bin/sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES", resources=two)
    assert code == 0
    assert len(set(said.strip().split(","))) == 2
    five = pod("five", BUSYBOX_IMAGE, "/bin/true", resources={"limits": {"nvidia.com/gpu": 5}})
    cluster.kubectl("apply", "-f", "-", text=json.dumps(five))

    def why() -> str:
        conditions = cluster.get("pod", "five")["status"].get("conditions", [])
        return "".join(one.get("message", "") for one in conditions if one["type"] == "PodScheduled")

    assert "Insufficient nvidia.com/gpu" in until(why)
    cluster.kubectl("delete", "pod", "five", "--wait=false")


def test_pods_of_two_nodes_reach_each_other(cluster: Cluster, server: str) -> None:
    assert ran(cluster, "near", PROBE_IMAGE, "/probe", "reach", f"{server}:7000", nodeName="node1")[0] == 0


def test_a_policy_closes_what_its_removal_opens(cluster: Cluster, server: str) -> None:
    def reaches(node: str) -> bool:
        return ran(cluster, f"client-{node}", PROBE_IMAGE, "/probe", "reach", f"{server}:7000", nodeName=node)[0] == 0

    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": _DENY,
    }
    assert reaches("node1") and reaches("node2")
    cluster.kubectl("apply", "-f", "-", text=json.dumps(policy))
    try:
        assert not reaches("node1") and not reaches("node2")
        policy["spec"] = {**_DENY, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client-node1"}}}]}]}
        cluster.kubectl("apply", "-f", "-", text=json.dumps(policy))
        assert reaches("node1") and not reaches("node2")
    finally:
        cluster.kubectl("delete", "networkpolicy", "closed")
    assert reaches("node1") and reaches("node2")


def test_a_policy_keeps_a_pod_from_some_addresses_alone(cluster: Cluster) -> None:
    outwards = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{METADATA}/32", "10.0.0.0/8"]}}]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "outwards"},
        "spec": {"podSelector": {"matchLabels": {"app": "walker"}}, "policyTypes": ["Egress"], "egress": [outwards]},
    }
    cluster.control.room.spawn("listener", cluster.control.kube.with_name("probe"), "serve", "8000")

    def reached() -> list[bool]:
        words = [("/probe", "reach", f"{address}:8000") for address in (OUTSIDE, METADATA)]
        return [ran(cluster, "walker", PROBE_IMAGE, *one)[0] == 0 for one in words]

    assert reached() == [True, True]
    cluster.kubectl("apply", "-f", "-", text=json.dumps(policy))
    try:
        assert reached() == [True, False]
    finally:
        cluster.kubectl("delete", "networkpolicy", "outwards")


def test_programs_of_the_machine_reach_it_by_a_loopback_port(cluster: Cluster, server: str) -> None:
    port = cluster.forward(server, 7000)
    done = subprocess.run(
        ["bash", "-c", f"cat < /dev/tcp/127.0.0.1/{port}"], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "server\n"
    assert oct(cluster.kubeconfig.stat().st_mode & 0o777) == "0o600"


def test_a_second_one_beside_it_ends_without_a_trace(cluster: Cluster) -> None:
    before = _machine()
    with Cluster(gpus={}) as other:
        assert "node1" in other.kubectl("get", "nodes", "-o", "name")
        assert ran(other, "one", BUSYBOX_IMAGE, "/bin/true")[0] == 0
        folder = other.folder
    assert _machine() == before
    assert not folder.exists()
    assert not _processes(folder)
    assert not _groups(folder)


def test_one_whose_keeper_was_killed_ends_and_is_swept_by_the_next(cluster: Cluster) -> None:
    before = _machine()
    words = [sys.executable, "-m", "tests.cluster.harness"]
    keeper = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert keeper.stdout
    assert keeper.stdout.readline().startswith("Ready")
    folder = Path(keeper.stdout.readline().split("=", 1)[1].strip()).parent
    os.kill(keeper.pid, signal.SIGKILL)
    keeper.wait()
    until(lambda: not _processes(folder))
    with Cluster(gpus={}) as other:
        assert other.kubectl("get", "--raw", "/readyz") == "ok"
    assert _machine() == before
    assert not folder.exists()
    assert not _groups(folder)


def _machine() -> dict[str, str]:
    """What a cluster could leave behind under no name of its own: interfaces, routes, rules, settings and mounts."""
    commands = {
        "links": "ip -o link | cut -d: -f2",
        "addresses": "ip -o addr | tr -s ' ' | cut -d' ' -f2-4; ip route",
        "rules": "iptables-save | grep -v '^[#:]'; true",
        "settings": "cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops"
        " /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/route_localnet",
        "mounts": "cut -d' ' -f2 /proc/self/mounts",
        "names": "ls /run/netns /var/lib/kubelet /run/containerd 2>/dev/null; true",
    }
    return {name: subprocess.check_output(["sh", "-c", text], text=True) for name, text in commands.items()}


def _groups(folder: Path) -> list[Path]:
    """Return the control groups of one cluster: those of others come and go beside it."""
    return [*Path("/sys/fs/cgroup").glob(f"**/*{folder.name}*")]


def _processes(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.decode(errors="replace"))
    return found
