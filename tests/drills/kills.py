"""SIGKILL through submits: every run ends exactly once, nothing is left behind, the next start works."""

import contextlib
import itertools
import json
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.platform import Platform, alive

# Where the api kills itself, and who is killed from outside meanwhile.
POINTS = ("admitted", "prepared", "started", "stopping", "collecting", "collected")
PARTS = ("hub", "proxy", "api")
ENDED = {"completed", "failed", "canceled", "killed"}
_PATIENCE_S = 120.0
_BEGAN = 'echo began >>"$KQI_ROOT/output/began"'


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of run that the drill submits, and how it must end."""

    command: str
    phase: str
    exit_code: int | None
    stop: bool = False


SHAPES = (
    Shape(f"{_BEGAN}; echo said", "completed", 0),
    Shape(f"{_BEGAN}; sleep 0.5; exit 3", "failed", 3),
    Shape(f"{_BEGAN}; exec sleep 600", "canceled", 143, stop=True),
    Shape(f"{_BEGAN}; for i in 1 2 3; do sleep 0.5; echo $i; done", "completed", 0),
)


@dataclass(slots=True)
class Drill:
    """`seed` chooses the moments, so that a failure can be repeated."""

    platform: Platform
    person: str
    seed: int = 1
    submitted: dict[int, Shape] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    def run(self, submits: int, points: Sequence[str] = POINTS) -> None:
        """Submit in groups of four; in each the api dies at a named point and another part at some moment, or all."""
        chance = random.Random(self.seed)
        token = self.platform.token(self.person)
        shapes = itertools.cycle(SHAPES)
        for point in itertools.islice(itertools.cycle((*points, None)), -(-submits // len(SHAPES))):
            self._restart_armed(point and f"{point}:{chance.randint(1, 2 if point != 'stopping' else 1)}")
            api = self.platform.pid("api")
            with self._client(token) as client:
                if point is None:
                    group = self._submit_through(token, shapes, chance.random() * 2)
                    self.killed.append("supervisor")
                else:
                    group = [self._submit(client, next(shapes)) for _ in SHAPES]
                    time.sleep(chance.random())
                    self._kill(chance.choice(PARTS))
                for number in group:
                    self._bring_to_end(client, number)
            assert self.platform.pid("api") != api, f"nothing died at {point}"
            if point is not None:
                self.killed.append(point)

    def _submit_through(self, token: str, shapes: Iterator[Shape], after_s: float) -> list[int]:
        """Submit a group; meanwhile the supervisor, and with it all parts, dies and is started again."""

        def submit() -> list[int]:
            with self._client(token) as client:
                return [self._submit(client, next(shapes)) for _ in SHAPES]

        with ThreadPoolExecutor(1) as beside:
            group = beside.submit(submit)
            time.sleep(after_s)
            self._restart_armed(None)
            return group.result()

    def _kill(self, part: str) -> None:
        """Kill it, as soon as there is one: it may have died at the point, and be on its way back."""

        def killed() -> bool:
            try:
                return alive(self.platform.pid(part)) and bool(self.platform.kill(part))
            except (ProcessLookupError, FileNotFoundError, ValueError, IndexError):
                return False

        _until(killed, f"the {part} does not come back")
        self.killed.append(part)

    def verify(self) -> None:
        """Check what must hold of every run, then of the machine. Ends the platform and starts it once more."""
        self._restart_armed(None)
        with self._client(self.platform.token(self.person)) as client:
            listed = set(_all(client))
            assert listed == set(self.submitted), "a run was lost, or recorded twice"
            for number, shape in self.submitted.items():
                self._verify_run(client, number, shape)
            free = client.get("/capacity").json()
            assert free["cpu_free"] == free["cpu_total"] and free["queued"] == 0, free
        inner = [self.platform.port, *_inner_ports(self.platform)]
        pids = [self.platform.pid(part) for part in PARTS]
        self.platform.command("down", "--work")
        assert self.platform.process
        self.platform.process.wait(60)
        assert not [pid for pid in pids if alive(pid)]
        assert workloads(self.platform.state) == []
        assert not [port for port in inner if _listens(port)]
        self.platform.start()
        assert httpx.get(f"{self.platform.url}/hub/login").status_code == 200

    def _verify_run(self, client: httpx.Client, number: int, shape: Shape) -> None:
        run = client.get(f"/trainings/{number}").json()
        assert (run["phase"], run["exit_code"]) == (shape.phase, shape.exit_code), run
        phases = [event["phase"] for event in client.get(f"/trainings/{number}/events").json()["events"]]
        assert sum(phase in ENDED for phase in phases) == 1 and phases[-1] in ENDED, phases
        assert len(phases) == len(set(phases)), phases
        output = self.platform.state / "store" / "runs" / "training" / str(number) / "output"
        assert (output / "began").read_text() == "began\n", "a run began twice"

    def _restart_armed(self, crash: str | None) -> None:
        """Kill the supervisor, and with it everything else; the next api dies at the point of `crash`."""
        config = self.platform.state / "kqi-hub.toml"
        config.write_text(f'crash = "{crash}"\n' if crash else "")
        assert self.platform.process
        parts = [self.platform.pid(part) for part in PARTS]
        self.platform.kill("supervisor")
        self.platform.process.wait(30)
        _until(lambda: not any(alive(pid) for pid in parts), "a part outlived the supervisor")
        self.platform.start()
        _until(lambda: _answers(f"{self.platform.api}/version"), "the api does not come back")
        # Read at its start: the api that follows the one that dies must live.
        config.write_text("")

    def _submit(self, client: httpx.Client, shape: Shape) -> int:
        """Submit until it is confirmed, always with the same key, as our own client does."""
        small = {"cpu": 0.05, "memory_gb": 0.1}
        body = {"command": shape.command, "resources": small, "grace_s": 5}
        key = f"drill-{self.seed}-{len(self.submitted)}"
        answer = stubborn(client, "POST", "/trainings", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 201, answer.text
        number = int(answer.json()["id"])
        self.submitted[number] = shape
        return number

    def _bring_to_end(self, client: httpx.Client, number: int) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            answer = stubborn(client, "GET", f"/trainings/{number}")
            assert answer.status_code == 200, answer.text
            phase = answer.json()["phase"]
            if phase in ENDED:
                return
            assert time.monotonic() < until, (answer.json(), self.platform.said())
            if self.submitted[number].stop and phase == "running" and self._has_begun(number):
                stopped = stubborn(client, "POST", f"/trainings/{number}/stop", json={"mode": "cancel"})
                assert stopped.status_code in {200, 409}, stopped.text
            stubborn(client, "GET", f"/trainings/{number}", params={"wait_s": 1, "unless": phase})

    def _has_begun(self, number: int) -> bool:
        return (self.platform.state / "store/runs/training" / str(number) / "output/began").exists()

    def _client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.platform.api, headers=headers, timeout=30)


def workloads(state: Path) -> list[int]:
    """Return the processes that still belong to workloads of this state, found by what they stand in or hold."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            known = os.readlink(entry / "cwd") + (entry / "environ").read_bytes().decode("utf-8", "replace")
            if f"{state}/" in known:
                found.append(int(entry.name))
    return found


def stubborn(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """Send it until an answer of the service itself comes."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = client.request(method, path, **options)
            if answer.status_code < 500 and "json" in answer.headers.get("content-type", ""):
                return answer
        assert time.monotonic() < until, f"{method} {path}: no answer"
        time.sleep(0.1)


def _all(client: httpx.Client) -> Iterator[int]:
    cursor = None
    while True:
        params = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        page = client.get("/trainings", params=params).json()
        yield from (item["id"] for item in page["items"])
        cursor = page["next"]
        if cursor is None:
            return


def _inner_ports(platform: Platform) -> list[int]:
    chosen = json.loads((platform.state / "run" / "runtime.json").read_text())
    return [chosen["hub_port"], chosen["api_port"], httpx.URL(chosen["proxy_api_url"]).port or 0]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _until(true: Any, otherwise: str) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)
