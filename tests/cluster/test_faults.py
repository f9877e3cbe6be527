"""What befalls nodes, pods and shares of a cluster, and what a run says of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kqi_spawner.status import Phase, Reason, Waiting
from kqi_spawner.workload import Access, Gpu, Mount, Resources, StorePath
from tests.cluster.harness.cluster import Cluster
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.programs import LINGER


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    async with kubernetes.engine(cluster) as made:
        yield made


def space(engine: Engine) -> str:
    return str(engine.backend._settings.namespace)  # type: ignore[attr-defined]


def pods(cluster: Cluster, engine: Engine) -> list[dict[str, Any]]:
    return list(cluster.get("-n", space(engine), "pods")["items"])


async def until_node(cluster: Cluster, name: str, ready: str) -> None:
    words = ("wait", f"node/{name}", f"--for=condition=Ready={ready}", "--timeout=120s")
    await asyncio.to_thread(cluster.kubectl, *words)


@pytest.mark.timeout(300)
async def test_a_node_that_is_away_and_back_costs_a_run_nothing(engine: Engine, cluster: Cluster) -> None:
    folder = engine.backend._settings.store / "runs/1"
    folder.mkdir()
    command = "echo up; while [ ! -e /kqi/output/go ]; do sleep 0.2; done; echo through; exit 4"
    output = Mount(source=StorePath("runs/1"), target="/kqi/output", access=Access.READ_WRITE)
    name = await engine.run(command, mounts=(output,))
    await engine.until(name, Phase.RUNNING)
    (pod,) = pods(cluster, engine)
    node = next(one for one in cluster.workers if one.name == pod["spec"]["nodeName"])
    await asyncio.to_thread(node.room.end, "kubelet")
    try:
        await until_node(cluster, node.name, "Unknown")
        assert (await engine.status(name)).phase is Phase.RUNNING
    finally:
        node.start_kubelet()
    await until_node(cluster, node.name, "True")
    (after,) = pods(cluster, engine)
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    (folder / "go").touch()
    assert (await engine.ended(name)).exit_code == 4
    assert await engine.output(name) == "up\nthrough\n"


async def test_a_run_that_is_evicted_is_lost_and_says_so(engine: Engine, cluster: Cluster) -> None:
    name = await engine.run(LINGER)
    await engine.until(name, Phase.RUNNING)
    (pod,) = pods(cluster, engine)
    meta = {"name": pod["metadata"]["name"], "namespace": space(engine)}
    place = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta})
    await asyncio.to_thread(cluster.kubectl, "create", "--raw", place, "-f", "-", text=body)
    seen = await engine.ended(name)
    assert (seen.phase, seen.reason) == (Phase.EXITED, Reason.LOST)
    assert "evict" in seen.message.lower()
    await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT


_URGENT = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {{name: {name}}}
value: 1000
---
apiVersion: v1
kind: Pod
metadata: {{name: urgent, namespace: {space}}}
spec:
  priorityClassName: {name}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: main
      image: {image}
      command: [sleep, "600"]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      resources: {{limits: {{nvidia.com/gpu: 4}}}}
"""


async def test_a_run_that_makes_room_for_something_of_more_importance_says_so(engine: Engine, cluster: Cluster) -> None:
    runs = []
    for first in (0, 4):  # the cards of both nodes
        cards = tuple(Gpu(kind="card", index=first + number) for number in range(4))
        runs.append(await engine.run(LINGER, resources=Resources(cpu_milli=50, memory_mib=64, gpus=cards)))
    for name in runs:
        await engine.until(name, Phase.RUNNING)
    urgent = _URGENT.format(name=f"urgent-{space(engine)}", space=space(engine), image=cluster.image)
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", text=urgent)
    try:
        watching = [asyncio.create_task(engine.ended(name)) for name in runs]
        (ended,), (going_on,) = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        going_on.cancel()
        seen = ended.result()
        assert (seen.phase, seen.reason) == (Phase.EXITED, Reason.LOST)
        assert "preempt" in seen.message.lower(), seen.message
        (other,) = [name for name, task in zip(runs, watching, strict=True) if task is going_on]
        assert (await engine.status(other)).phase is Phase.RUNNING
        words = ("-n", space(engine), "wait", "pod/urgent", "--for=condition=Ready", "--timeout=60s")
        await asyncio.to_thread(cluster.kubectl, *words)
    finally:
        await asyncio.to_thread(cluster.kubectl, "delete", "-f", "-", "--wait=false", text=urgent)


async def test_a_run_waits_for_a_share_that_is_used_up(engine: Engine, cluster: Cluster) -> None:
    words = ("-n", space(engine), "create", "quota", "share", "--hard=limits.memory=100Mi,pods=5")
    await asyncio.to_thread(cluster.kubectl, *words)
    small = Resources(cpu_milli=50, memory_mib=64)
    first = await engine.run(LINGER, resources=small)
    await engine.until(first, Phase.RUNNING)
    second = await engine.run("exit 6", resources=small)
    async with asyncio.timeout(60):
        async for _changed in engine.backend.changes():
            seen = await engine.status(second)
            if seen.waiting is Waiting.SHARE:
                break
    assert seen.phase is Phase.PENDING and "exceeded quota" in seen.message
    await engine.backend.stop(first, grace_s=1)
    await engine.ended(first)
    await engine.backend.forget(first)
    async with asyncio.timeout(120):
        assert (await engine.ended(second)).exit_code == 6
