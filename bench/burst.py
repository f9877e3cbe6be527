"""A burst of starts, ours and the peer's in turn: `python -m bench.burst GIVEN`, on the network of a cluster's control.

The peer is JupyterHub 6.1 with KubeSpawner 7.1. Nodes are on paper, one stub answers for all their pods, and both
sides are looked at in the same way: a server is there when its proxy leads to it, which is the hub's last step. (To ask
the hub for its list of people costs it more than a start does.)
"""

import asyncio
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
from tests.cluster.parts import Parts

from kqi_hub.testing.service import free_port
from kqi_spawner.kubernetes.settings import KubernetesSettings

SIZES = (1, 10, 100)
PAIRS = {1: 5, 10: 3, 100: 3}
JOBS, TOGETHER = 1_000, 64
_LOOK_S, _PATIENCE_S = 0.02, 300.0
_PROXY_TOKEN = "proxy-token"
_PORT = 8888  # where the servers of both sides listen
_SERVICE = """
c.JupyterHub.services.append({{"name": "bench", "api_token": {token!r}}})
scopes = ["admin:users", "admin:servers", "list:users", "servers"]
c.JupyterHub.load_roles.append({{"name": "bench", "scopes": scopes, "services": ["bench"]}})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Of a namespace: where its pods run, and where the apiserver writes down who asked for what."""

    namespace: str
    claim: str
    store: str
    kubeconfig: str
    images: dict[str, str]
    state: str
    audit: str

    def engine(self) -> KubernetesSettings:
        return KubernetesSettings(
            platform=self.namespace,
            namespace=self.namespace,
            store=Path(self.store),
            claim=self.claim,
            images=self.images,
            kubeconfig=Path(self.kubeconfig),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Seconds from the first request to the last one ready, by size; the writes that each start took of the cluster.

    `nothing`: the same for the most starts, of a hub that starts nothing. `hubs_ms`: CPU of each hub for one of them.
    """

    ours: dict[int, float]
    theirs: dict[int, float]
    nothing: float
    jobs: float
    writes: dict[str, float]
    hubs_ms: dict[str, float]


class Side(Protocol):
    hub: httpx.AsyncClient
    proxy: httpx.AsyncClient
    namespace: str
    pid: int  # of its hub

    async def start(self, person: str) -> None: ...

    async def stop(self, person: str) -> None: ...


class Ours:
    def __init__(self, parts: Parts, people: Sequence[str], token: str, namespace: str) -> None:
        self.hub = _client(f"{parts.url}/hub/api", token)
        proxy, key = parts.proxy_api
        self.proxy = _client(f"{proxy}/api", key)
        self.namespace, self.pid = namespace, parts.pid("hub")
        self._api = {
            name: _client(f"{parts.url}/services/kqi/api/v1", key) for name, key in parts.tokens(people).items()
        }
        self._runs: dict[str, int] = {}

    async def start(self, person: str) -> None:
        answer = await self._api[person].post("/notebooks", json={})
        self._runs[person] = _good(answer).json()["id"]

    async def stop(self, person: str) -> None:
        _good(await self._api[person].post(f"/notebooks/{self._runs.pop(person)}/stop", json={"mode": "kill"}))


class Theirs:
    def __init__(self, url: str, proxy: str, pid: int, token: str, namespace: str) -> None:
        self.hub = _client(f"{url}/hub/api", token)
        self.proxy = _client(f"{proxy}/api", _PROXY_TOKEN)
        self.namespace, self.pid = namespace, pid

    async def start(self, person: str) -> None:
        _good(await self.hub.post(f"/users/{person}/server"))

    async def stop(self, person: str) -> None:
        _good(await self.hub.delete(f"/users/{person}/server"))


def main(given: Given, peer: Given) -> Found:
    people = [f"person{number}" for number in range(max(SIZES))]
    token = secrets.token_hex(16)
    with ExitStack() as kept:
        kept.enter_context(_running([sys.executable, "-m", "bench.stub", str(_PORT)]))
        parts = Parts(
            engine=given.engine(),
            state=Path(given.state),
            extra={"bench.py": _SERVICE.format(token=token)},
        )
        kept.enter_context(parts)
        ours = Ours(parts, people, token, given.namespace)
        theirs = Theirs(*kept.enter_context(_vanilla(peer, token, parts)), token, peer.namespace)
        hub = Theirs(*kept.enter_context(_vanilla(peer, token, parts, answers=f"http://127.0.0.1:{_PORT}")), token, "")
        return asyncio.run(_measure(ours, theirs, hub, people, Audit(Path(given.audit))))


async def _measure(ours: Ours, theirs: Theirs, hub: Theirs, people: Sequence[str], audit: "Audit") -> Found:
    for name in people:
        for side in (theirs, hub):
            _good(await side.hub.post(f"/users/{name}"))
    for side in (ours, theirs, hub):  # the first of all warms them up
        await _burst(side, people)
    mine: dict[int, float] = {}
    other: dict[int, float] = {}
    for size in SIZES:
        pairs = [(await _burst(ours, people[:size]), await _burst(theirs, people[:size])) for _ in range(PAIRS[size])]
        mine[size] = statistics.median(first for first, _ in pairs)
        other[size] = statistics.median(second for _, second in pairs)
        print(f"{size}: {pairs}", file=sys.stderr, flush=True)
    nothing = statistics.median([await _burst(hub, people) for _ in range(PAIRS[len(people)])])
    writes, hubs_ms = {}, {}
    for name, side in (("notebook", ours), ("peer's notebook", theirs), ("nothing", hub)):
        counted, before = audit.writes(side.namespace), cpu_s(side.pid)
        await _burst(side, people, ending=False)
        hubs_ms[name] = 1000 * (cpu_s(side.pid) - before) / len(people)
        if side is not hub:
            writes[name] = counted() / len(people)
        await _stop(side, people)
    counted = audit.writes(ours.namespace)
    jobs = await _jobs(ours, people[0])
    writes["job"] = counted() / JOBS
    return Found(ours=mine, theirs=other, nothing=nothing, jobs=jobs, writes=writes, hubs_ms=hubs_ms)


async def _burst(side: Side, people: Sequence[str], *, ending: bool = True) -> float:
    """Start them all at once and return the seconds until the last one can be reached; then stop them."""
    begin = time.perf_counter()
    await asyncio.gather(*(side.start(person) for person in people))
    while True:
        if await _ready(side) >= set(people):
            break
        assert time.perf_counter() - begin < _PATIENCE_S, "somebody's server did not come up"
        await asyncio.sleep(_LOOK_S * max(1, len(people) / 10))
    took = time.perf_counter() - begin
    if ending:
        await _stop(side, people)
    return took


async def _ready(side: Side) -> set[str]:
    routes = _good(await side.proxy.get("/routes")).json()
    return {place.split("/")[2] for place in routes if place.startswith("/user/")}


async def _stop(side: Side, people: Sequence[str]) -> None:
    await asyncio.gather(*(side.stop(person) for person in people))
    until = time.monotonic() + _PATIENCE_S
    while _good(await side.hub.get("/users", params={"state": "active", "limit": 200})).json():
        assert time.monotonic() < until, "somebody's server did not stop"
        await asyncio.sleep(0.5)
    await asyncio.sleep(2)  # what is still being removed would weigh on whoever comes next


async def _jobs(ours: Ours, person: str) -> float:
    """Submit and return the seconds until the last of them runs."""
    api, gate = ours._api[person], asyncio.Semaphore(TOGETHER)

    async def submit(number: int) -> int:
        async with gate:
            answer = await api.post("/trainings", json={"command": f"echo {number}", "zip": False})
        return int(_good(answer).json()["id"])

    begin = time.perf_counter()
    numbers = set(await asyncio.gather(*(submit(number) for number in range(JOBS))))
    assert len(numbers) == JOBS
    for phase in ("queued", "preparing"):  # whom one of them is left by, it never has again
        while _good(await api.get("/trainings", params={"phase": phase, "limit": 1})).json()["items"]:
            assert time.perf_counter() - begin < _PATIENCE_S, f"some are still {phase}"
            await asyncio.sleep(0.1)
    took = time.perf_counter() - begin
    phases = Counter(run["phase"] for run in await _trainings(api) if run["id"] in numbers)
    assert phases == {"running": JOBS}, phases
    return took


async def _trainings(api: httpx.AsyncClient) -> list[Any]:
    found: list[Any] = []
    more: dict[str, str] = {}
    while True:
        page = _good(await api.get("/trainings", params={"limit": 500, **more})).json()
        found += page["items"]
        if not page["next"]:
            return found
        more = {"cursor": page["next"]}


class Audit:
    """What the apiserver wrote down of who changed what."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def writes(self, namespace: str) -> Callable[[], int]:
        """Count from now on; the call that is returned says how many came by a client of ours or the peer's."""
        position = self._file.stat().st_size

        def counted() -> int:
            time.sleep(2)  # it is written behind
            with self._file.open("rb") as opened:
                opened.seek(position)
                events = [json.loads(line) for line in opened if line.endswith(b"\n")]
            return sum(
                event.get("objectRef", {}).get("namespace") == namespace
                and event["user"]["username"] == "admin"
                and not event.get("userAgent", "").startswith("kwok")
                for event in events
            )

        return counted


@contextmanager
def _vanilla(given: Given, token: str, parts: Parts, answers: str = "") -> Iterator[tuple[str, str, int]]:
    """Run the peer with the same proxy and yield its address, that of its proxy's API, and its process.

    With `answers` it starts nothing: that is the address of every server.
    """
    state = Path(given.state) / ("nothing" if answers else "peer")
    state.mkdir()
    ports = {name: free_port() for name in ("people", "hub", "proxy")}
    told = {
        "url": f"http://127.0.0.1:{ports['people']}",
        "hub": f"http://127.0.0.1:{ports['hub']}",
        "proxy_api": f"http://127.0.0.1:{ports['proxy']}",
        "proxy_token": _PROXY_TOKEN,
        "proxy": parts.proxy_program,
        **{"state": str(state), "token": token, "namespace": given.namespace, "image": given.images["default"]},
        "answers": answers,
    }
    around = {**os.environ, "KQI_BENCH_HUB": json.dumps(told), "KUBECONFIG": given.kubeconfig}
    config = Path(__file__).with_name("vanilla.py")
    with _running([sys.executable, "-m", "jupyterhub", "-f", str(config)], state, around) as (log, pid):
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{told['url']}/hub/api/", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.1)
        yield str(told["url"]), str(told["proxy_api"]), pid


@contextmanager
def _running(
    words: Sequence[str], state: Path | None = None, around: dict[str, str] | None = None
) -> Iterator[tuple[Path, int]]:
    """Yield its log and its number; `setpriv` becomes what it starts."""
    log = (state or Path("/tmp")) / "bench.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words], cwd=state, env=around, stdout=out, stderr=out
        )
    try:
        yield log, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has taken."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _client(url: str, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"token {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False)


def _good(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, answer.text
    return answer


if __name__ == "__main__":
    read = json.loads(sys.argv[1])
    print(json.dumps(asdict(main(Given(**read["ours"]), Given(**read["theirs"])))))
