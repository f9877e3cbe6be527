"""On a real control plane with nodes on paper: bursts of starts, and watching many pods that do nothing."""

import asyncio
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.simulated import add_nodes
from tests.contract.kubernetes import space

from bench.bare import fill
from bench.burst import JOBS, SIZES, Given, cpu_s
from bench.record import Record
from kqi_hub.settings import load
from kqi_hub.supervisor import proxy
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.client import Client
from kqi_spawner.kubernetes.settings import KubernetesSettings

_ROOT = Path(__file__).parents[1]
_PODS = (10, 100, 1_000, 5_000)
_IDLE_S, _DEATHS = 60.0, 7
_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, verbs: [create, update, patch, delete], users: [admin]}
  - {level: None}
"""
_PEER = "JupyterHub {jupyterhub} with KubeSpawner {kubespawner}"
_SIDES = ("ours", "theirs")


def run() -> Iterator[Record]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        policy, audit = Path(name, "policy.yaml"), Path(name, "audit.log")
        policy.write_text(_POLICY)
        audit.touch()
        options = [f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--max-requests-inflight=3000"]
        with Cluster(nodes=0, apiserver=[*options, "--max-mutating-requests-inflight=1000"]) as cluster:
            add_nodes(cluster, 2)
            yield from _bursts(cluster, audit)
            yield from _watches(cluster)


def _bursts(cluster: Cluster, audit: Path) -> list[Record]:
    # Whatever address a pod on paper has, the stub of the burst answers at it.
    cluster.control.room.wire("route", "add", "local", "10.128.0.0/10", "dev", "lo")
    with ExitStack() as kept:
        given = {side: kept.enter_context(_given(cluster, audit)) for side in _SIDES}
        words = ["nsenter", f"--net={cluster.control.room.network}", "--", sys.executable, "-m", "bench.burst"]
        told = json.dumps({side: asdict(of) for side, of in given.items()})
        done = subprocess.run([*words, told], cwd=_ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)
    ours, theirs = ([found[side][str(size)] for size in SIZES] for side in _SIDES)
    writes = {f"writes of the cluster's API for a {name}": count for name, count in found["writes"].items()}
    hubs = {f"ms of CPU of the hub for a {name}": ms for name, ms in found["hubs_ms"].items()}
    each = ours[-1] / SIZES[-1], theirs[-1] / SIZES[-1]
    alone = JOBS / asyncio.run(_alone(cluster))
    return [
        Record(
            name="burst_notebooks",
            peer=_peer(),
            versions=_versions(),
            n=list(SIZES),
            ours=ours,
            theirs=theirs,
            limit={
                **writes,
                **hubs,
                "starts per second": 1 / each[0],
                "the peer's": 1 / each[1],
                "their ratio": each[1] / each[0],
                "a hub's that starts nothing": SIZES[-1] / found["nothing"],
            },
            target=">= 1.5 x the peer's starts per second, <= 3 writes per start",
        ),
        Record(
            name="burst_jobs",
            peer=f"{_peer()}: its notebooks, one by one",
            versions=_versions(),
            n=[JOBS],
            ours=[found["jobs"] / JOBS],
            theirs=[each[1]],
            limit={
                "starts per second": JOBS / found["jobs"],
                "their ratio": each[1] * JOBS / found["jobs"],
                "Jobs per second without a platform": alone,
            },
            target=">= 10 x the peer's starts per second",
        ),
    ]


async def _alone(cluster: Cluster) -> float:
    with space(cluster) as settings:
        backend = await KubernetesBackend.opened(settings)
        try:
            return await fill(backend, 0, JOBS)
        finally:
            await backend.close()


@contextmanager
def _given(cluster: Cluster, audit: Path) -> Iterator[Given]:
    with space(cluster) as settings, tempfile.TemporaryDirectory(dir="/var/tmp") as state:
        # Where the burst runs there is no way to the registries.
        asyncio.run(proxy.install(load(environ={}, state=state), proxy.find_node()))
        yield Given(
            namespace=settings.namespace,
            claim=settings.claim,
            store=str(settings.store),
            kubeconfig=str(cluster.control.authority.folder / "admin.kubeconfig"),
            images=dict(settings.images),
            state=state,
            audit=str(audit),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Of a process that watches: seconds of CPU, bytes from the cluster and bytes of memory, seconds until a death."""

    cpu_s: float
    read: float
    memory: float
    death_s: float


def _watches(cluster: Cluster) -> list[Record]:
    with space(cluster) as settings:
        found = asyncio.run(_watch(cluster, replace(settings, pod_labels={"component": "singleuser-server"})))
    versions, peer = _versions(), f"{_peer()}: its reflectors of pods and events"

    def record(name: str, unit: str, target: str, scale: float = 1) -> Record:
        ours, theirs = ([getattr(idle[side], _FIELDS[name]) * scale for idle in found] for side in _SIDES)
        limit = {"the peer's / ours": theirs[-1] / ours[-1]}
        kept = {"n": list(_PODS), "ours": ours, "theirs": theirs, "limit": limit}
        return Record(name=f"watch_{name}", peer=peer, versions=versions, unit=unit, target=target, **kept)

    return [
        record("cpu", "s of CPU a minute", ">= 50 x less", 60 / _IDLE_S),
        record("bytes", "bytes a minute", ">= 100 x fewer", 60 / _IDLE_S),
        record("memory", "MiB", "less", 1 / 2**20),
        record("death", "s", "<= 0.5 s"),
    ]


_FIELDS = {"cpu": "cpu_s", "bytes": "read", "memory": "memory", "death": "death_s"}


async def _watch(cluster: Cluster, settings: KubernetesSettings) -> list[dict[str, Idle]]:
    backend = await KubernetesBackend.opened(settings)
    client = await Client.opened(settings.kubeconfig)
    found = []
    try:
        made = 0
        for count in _PODS:
            await fill(backend, made, count)
            made = count
            await asyncio.sleep(10)
            found.append(await _idle(cluster, settings, client))
            print(count, found[-1], file=sys.stderr, flush=True)
    finally:
        await client.close()
        await backend.close()
    return found


async def _idle(cluster: Cluster, settings: KubernetesSettings, client: Client) -> dict[str, Idle]:
    """Let both watch at the same time, then let some pods die."""
    watchers = {side: await Watcher.opened(side, cluster, settings) for side in _SIDES}
    try:
        await asyncio.sleep(5)
        before = {side: (one.cpu_s(), one.read) for side, one in watchers.items()}
        await asyncio.sleep(_IDLE_S)
        after = {side: (one.cpu_s(), one.read, one.memory()) for side, one in watchers.items()}
        deaths: dict[str, list[float]] = {side: [] for side in _SIDES}
        for pod in await _living(client, settings.namespace):
            begin = time.monotonic()
            await _die(client, settings.namespace, pod)
            for side, one in watchers.items():
                deaths[side].append(await one.knew(pod) - begin)
            await asyncio.sleep(1.3)
        return {
            side: Idle(
                cpu_s=after[side][0] - before[side][0],
                read=after[side][1] - before[side][1],
                memory=after[side][2],
                death_s=statistics.median(deaths[side]),
            )
            for side in _SIDES
        }
    finally:
        for one in watchers.values():
            await one.close()


async def _living(client: Client, namespace: str) -> list[str]:
    found = await client.get(f"/api/v1/namespaces/{namespace}/pods", {"fieldSelector": "status.phase=Running"})
    return [pod["metadata"]["name"] for pod in found["items"][:_DEATHS]]


async def _die(client: Client, namespace: str, pod: str) -> None:
    ended = {"name": "main", "ready": False, "restartCount": 0, "image": "", "imageID": ""}
    status = {"phase": "Failed", "containerStatuses": [{**ended, "state": {"terminated": {"exitCode": 137}}}]}
    await client.merge(f"/api/v1/namespaces/{namespace}/pods/{pod}/status", {"status": status})


class Watcher:
    """A process of `bench.watching` behind a relay that counts what the cluster sends it."""

    read = 0
    _process: asyncio.subprocess.Process
    _relay: asyncio.Server

    @classmethod
    async def opened(cls, side: str, cluster: Cluster, settings: KubernetesSettings) -> "Watcher":
        made = cls()
        text = cluster.kubeconfig.read_text()
        port = text.split("https://127.0.0.1:")[1].split()[0].strip("\"',}")
        made._relay = await asyncio.start_server(lambda *ends: made._carry(int(port), *ends), "127.0.0.1", 0)
        config = cluster.folder / f"relayed-{side}"
        config.write_text(text.replace(port, str(made._relay.sockets[0].getsockname()[1])))
        given = Given(
            namespace=settings.namespace,
            claim=settings.claim,
            store=str(settings.store),
            kubeconfig=str(config),
            images=dict(settings.images),
            state="",
            audit="",
        )
        words = [sys.executable, "-m", "bench.watching", side, json.dumps(asdict(given))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        around = {**os.environ, "KUBECONFIG": str(config)}
        made._process = await asyncio.create_subprocess_exec(*words, cwd=_ROOT, env=around, **pipes)
        assert await made._line() == "ready"
        return made

    async def close(self) -> None:
        self._process.kill()
        await self._process.wait()
        self._relay.close()

    async def knew(self, pod: str) -> float:
        assert self._process.stdin
        self._process.stdin.write(f"{pod}\n".encode())
        return float(await self._line())

    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    def memory(self) -> float:
        (line,) = (
            line for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines() if "VmRSS" in line
        )
        return int(line.split()[1]) * 1024

    async def _line(self) -> str:
        assert self._process.stdout
        return (await self._process.stdout.readline()).decode().strip()

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, far_writer), self._count(far_reader, writer), return_exceptions=True)

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            self.read += len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.close()


def _versions() -> dict[str, str]:
    names: Sequence[str] = ("jupyterhub", "jupyterhub-kubespawner")
    return {name: importlib.metadata.version(name) for name in names}


def _peer() -> str:
    jupyterhub, kubespawner = _versions().values()
    return _PEER.format(jupyterhub=jupyterhub, kubespawner=kubespawner)
