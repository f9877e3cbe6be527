"""The control plane of a real cluster is away, comes back, or has forgotten: what is known of runs, and how soon."""

import asyncio
import json
import signal
import sys
import time

from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase
from tests.cluster.harness.cluster import Cluster
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.programs import LINGER

AWAY_S = (1, 10, 60, 300)
_COMPACT = """
import json, urllib.request
def call(place, body):
    request = urllib.request.Request("http://127.0.0.1:2379/v3/" + place, json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request, timeout=10))
revision = call("kv/range", {"key": "AA=="})["header"]["revision"]
call("kv/compaction", {"revision": revision, "physical": True})
print(revision)
"""


async def away(cluster: Cluster, seconds: float) -> float:
    """Take the apiserver away while a run ends; return how long after the kubelet told of it we knew, in s."""
    async with kubernetes.engine(cluster) as engine:
        ending = await engine.run(f"echo up; sleep {seconds / 2}; exit 7")
        staying = await engine.run(LINGER)
        for name in (ending, staying):
            await engine.until(name, Phase.RUNNING)
        await asyncio.to_thread(cluster.control.stop_apiserver)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(cluster.control.start_apiserver)
        known = asyncio.create_task(_ended(engine, ending))
        told = await asyncio.to_thread(_told, cluster, engine)
        late = max(0.0, await known - told)
        assert (await engine.status(staying)).phase is Phase.RUNNING
        await _still_works(engine)
        return late


async def etcd_anew(cluster: Cluster) -> None:
    """Kill etcd and start it again under a run."""
    async with kubernetes.engine(cluster) as engine:
        name = await engine.run("echo up; sleep 3; exit 7")
        await engine.until(name, Phase.RUNNING)
        await asyncio.to_thread(cluster.control.room.end, "etcd", how=signal.SIGKILL)
        await asyncio.sleep(5)
        await asyncio.to_thread(cluster.control.start_etcd)
        assert (await engine.ended(name)).exit_code == 7
        await _still_works(engine)


async def compacted(cluster: Cluster) -> None:
    """Let the cluster forget all versions that a watch could go on from (410) while a run ends."""
    async with kubernetes.engine(cluster) as engine:
        name = await engine.run("echo up; sleep 2; exit 7")
        await engine.until(name, Phase.RUNNING)
        await asyncio.to_thread(cluster.control.stop_apiserver)
        await asyncio.to_thread(cluster.control.room.run, sys.executable, "-I", "-c", _COMPACT)
        await asyncio.sleep(3)
        await asyncio.to_thread(cluster.control.start_apiserver)
        assert (await engine.ended(name)).exit_code == 7
        await _still_works(engine)


async def _ended(engine: Engine, name: WorkloadName) -> float:
    assert (await engine.ended(name)).exit_code == 7
    return time.monotonic()


def _told(cluster: Cluster, engine: Engine) -> float:
    """Return when the cluster itself knew of a pod that has failed."""
    space = engine.backend._settings.namespace  # type: ignore[attr-defined]
    while True:
        said = cluster.kubectl("-n", space, "get", "pods", "-o", "json", check=False)
        if said and any(pod["status"]["phase"] == "Failed" for pod in json.loads(said)["items"]):
            return time.monotonic()
        time.sleep(0.05)


async def _still_works(engine: Engine) -> None:
    """What is started now runs, and its end is seen, once the parts of the cluster have found each other again."""
    engine.patience_s = 300  # each of them asks anew after up to half a minute, one after the other
    name = await engine.run("exit 3")
    assert (await engine.ended(name)).exit_code == 3
