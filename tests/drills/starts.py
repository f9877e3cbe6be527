"""Hub and api are killed while many notebooks and jobs start on a real cluster: each starts once and ends once."""

import itertools
import math
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.harness import images
from tests.cluster.harness.cluster import Cluster, busybox
from tests.cluster.parts import Parts
from tests.contract import kubernetes
from tests.drills.kills import ENDED, POINTS, stubborn

_IMAGE = "localhost/drill:1"
_SERVER = "#!/bin/sh\nexec httpd -f -p 8888 -h /tmp\n"
_COMMAND = 'echo began >>"$KQI_ROOT/output/began"; sleep 1; echo said'
_SERVICE = """
c.JupyterHub.services.append({{"name": "drill", "api_token": {token!r}}})
c.JupyterHub.load_roles.append({{"name": "drill", "scopes": ["list:users", "read:servers"], "services": ["drill"]}})
"""
_CARDS = """
[[kubernetes.cards]]
kind = "card"
"""
_PATIENCE_S = 600.0
_SMALL = {"cpu": 0.01, "memory_gb": 0.03}


@contextmanager
def platform(cluster: Cluster, state: Path, count: int, seed: int = 1) -> Iterator["Starts"]:
    """Run the platform on the network of the cluster's control, for `count` people."""
    script = state / "server"
    script.write_text(_SERVER)
    plain = busybox()
    made = replace(plain, reference=_IMAGE, files={**plain.files, "bin/jupyterhub-singleuser": script})
    cluster.load(images.write(made, state / "image.tar"))
    (state / "kqi-hub.toml").write_text(_CARDS)
    token = secrets.token_hex(16)
    config = str(cluster.control.authority.folder / "admin.kubeconfig")
    with kubernetes.space(cluster) as space:
        parts = Parts(
            engine=replace(space, images={"default": _IMAGE}, kubeconfig=Path(config)),
            state=state,
            within=("nsenter", f"--net={cluster.control.room.network}", "--"),
            door=lambda port: cluster.forward("127.0.0.1", port),
            extra={"drill.py": _SERVICE.format(token=token)},
        )
        with parts:
            made_up = [f"person{number}" for number in range(count)]
            yield Starts(cluster, parts, token, parts.tokens(made_up), random.Random(seed))


@dataclass(slots=True)
class Starts:
    cluster: Cluster
    parts: Parts
    token: str
    people: dict[str, str]
    chance: random.Random
    jobs: set[int] = field(default_factory=set)
    notebooks: set[int] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)
    _armed: str = ""
    _hub_dies: float = math.inf
    _keys: Iterator[int] = field(default_factory=itertools.count)

    def run(self, points: Sequence[str] = POINTS) -> None:
        """For each point: a notebook and a job of everybody; the api dies there, and the hub at some moment."""
        for point in points:
            self._round(point)

    def _round(self, point: str) -> None:
        self.parts.kill("api")
        self._armed = f"{point}:{self.chance.randint(1, max(1, len(self.people) // 2))}"
        self.parts.start("api", KQI_HUB__CRASH=self._armed)
        self.parts.until_up()
        with ThreadPoolExecutor(16) as pool:
            begun = [
                pool.submit(self._submit, kind, person) for person in self.people for kind in ("trainings", "notebooks")
            ]
            self._hub_dies = time.monotonic() + 3 * self.chance.random()
            self._until(lambda: all(one.done() for one in begun), "not everything was submitted")
            made = [one.result() for one in begun]
            jobs, notebooks = set(made[::2]), set(made[1::2])
            assert len(jobs) == len(notebooks) == len(self.people), "a start was recorded twice"
            self._until(lambda: self._phases("notebooks", notebooks) <= {"running"}, "a notebook does not run")
            self._until(lambda: self._ready() == set(self.people), "a server is not ready")
            assert len(self._pods("notebook")) == len(notebooks), "a notebook was started twice"
            self._until(lambda: self._phases("trainings", jobs) <= ENDED, "a job does not end")
            ending = [pool.submit(self._stop, *one) for one in zip(self.people, made[1::2], strict=True)]
            self._until(lambda: all(one.done() for one in ending), "not everything was stopped")
            for one in ending:
                one.result()
            self._until(lambda: self._phases("notebooks", notebooks) <= ENDED, "a notebook does not end")
            self._until(lambda: not self._ready(), "the hub has servers that are gone")
        self._until(lambda: self._armed in self.killed, f"nothing died at {point}")
        assert self._hub_dies is math.inf
        self.jobs |= jobs
        self.notebooks |= notebooks

    def verify(self) -> None:
        """Check what must hold of every run, then of the cluster."""
        with self._client() as client:
            for kind, numbers in (("trainings", self.jobs), ("notebooks", self.notebooks)):
                assert {run["id"] for run in _all(client, kind)} == numbers, "a run was lost, or recorded twice"
                for number in numbers:
                    self._verify_run(client, kind, number)
            free = client.get("/capacity").json()
            assert free["cpu_free"] == free["cpu_total"] and free["queued"] == 0, free
            assert [card["free"] for card in free["gpus"]] == [card["total"] for card in free["gpus"]] != [], free
        self._until(lambda: not self._left(), "something is left in the cluster")

    def _verify_run(self, client: httpx.Client, kind: str, number: int) -> None:
        run = client.get(f"/{kind}/{number}").json()
        events = client.get(f"/{kind}/{number}/events").json()["events"]
        phases = [event["phase"] for event in events]
        assert len(phases) == len(set(phases)) and phases[-1] in ENDED, (number, phases)
        if kind == "trainings":
            assert (run["phase"], run["exit_code"]) == ("completed", 0), run
            began = self.parts.engine.store / f"runs/training/{number}/output/began"
            assert began.read_text() == "began\n", "a run began twice"
        else:
            assert run["phase"] == "killed", run

    def _submit(self, kind: str, person: str) -> int:
        gpus = {"gpu": 1} if kind == "trainings" and person.endswith(("0", "5")) else {}
        body: dict[str, Any] = {"resources": {**_SMALL, **gpus}}
        if kind == "trainings":
            body |= {"command": _COMMAND, "zip": False}
        with self._client(person) as client:
            key = {"Idempotency-Key": f"drill-{next(self._keys)}"}
            answer = stubborn(client, "POST", f"/{kind}", json=body, headers=key)
            assert answer.status_code == 201, answer.text
            return int(answer.json()["id"])

    def _stop(self, person: str, number: int) -> None:
        with self._client(person) as client:
            answer = stubborn(client, "POST", f"/notebooks/{number}/stop", json={"mode": "kill"})
            assert answer.status_code in {200, 409}, answer.text

    def _phases(self, kind: str, wanted: set[int]) -> set[str]:
        with self._client() as client:
            found = {run["id"]: run["phase"] for run in _all(client, kind)}
        assert wanted <= set(found), "a run was lost"
        return {found[number] for number in wanted}

    def _ready(self) -> set[str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=f"{self.parts.url}/hub/api", headers=headers, timeout=30, trust_env=False) as hub:
            answer = stubborn(hub, "GET", "/users?state=ready&limit=200")
            assert answer.status_code == 200, answer.text
            return {user["name"] for user in answer.json()}

    def _pods(self, kind: str) -> list[str]:
        found = self.cluster.kubectl("-n", self.parts.engine.namespace, "get", "pods", "-o", "name").split()
        return [name for name in found if f"/{kind}-" in name]

    def _left(self) -> str:
        return self.cluster.kubectl("-n", self.parts.engine.namespace, "get", "jobs,pods,secrets", "-o", "name")

    def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        """Look until it is so; meanwhile the hub dies when its time has come, and who has died is started again."""
        until = time.monotonic() + _PATIENCE_S
        while not true():
            if time.monotonic() > self._hub_dies:
                self._hub_dies = math.inf
                self.parts.kill("hub")
                self.parts.start("hub")
                self.killed.append("hub")
            if self.parts.ended("api"):
                self.parts.start("api")
                self.killed.append(self._armed)
            assert time.monotonic() < until, f"{otherwise}: {self.parts.log('api').read_text()[-2000:]}"
            time.sleep(0.2)

    def _client(self, person: str = "") -> httpx.Client:
        token = self.people[person] if person else next(iter(self.people.values()))
        headers = {"Authorization": f"Bearer {token}"}
        base = f"{self.parts.url}/services/kqi/api/v1"
        return httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False)


def _all(client: httpx.Client, kind: str) -> Iterator[Any]:
    more: dict[str, str] = {}
    while True:
        answer = stubborn(client, "GET", f"/{kind}", params={"limit": 500, **more})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield from page["items"]
        if not page["next"]:
            return
        more = {"cursor": page["next"]}
