"""A real JupyterHub beside a cluster, and what stands for the api that it asks."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from kqi_spawner import wire
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.settings import KubernetesSettings
from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import Phase
from kqi_spawner.workload import Resources, Secret, StorePath, Workload
from tests.cluster.harness.cluster import Cluster
from tests.contract.engines import Engine

_CONFIG = Path(__file__).with_name("hub_config.py")
_TOKEN = "of-the-tests-alone"
SERVE = "exec busybox httpd -f -p 8888 -h /tmp"
_numbers = count(1)


@dataclass(slots=True, kw_only=True)
class Hub:
    """`runs` is what the api answers for a person's server, by the name of both."""

    cluster: Cluster
    settings: KubernetesSettings
    state: Path
    runs: dict[tuple[str, str], Workload] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = field(init=False)
    client: httpx.Client = field(init=False)
    _api: ThreadingHTTPServer = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None
    # A relay dies with the thread that began it, and the api's threads live as long as one request.
    _lasting: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))

    def open(self) -> None:
        (self.state / "service-token").write_text("service")
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._api = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._api.serve_forever, daemon=True).start()
        headers = {"Authorization": f"token {_TOKEN}"}
        self.client = httpx.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=40, trust_env=False)
        self.start()

    def close(self) -> None:
        self.end(signal.SIGTERM)
        self.client.close()
        self._api.shutdown()
        self._api.server_close()
        self._lasting.shutdown()

    def start(self) -> None:
        engine = {name: getattr(self.settings, name) for name in ("platform", "namespace", "claim", "images", "user")}
        given = {
            "engine": {
                **engine,
                **{"store": str(self.settings.store), "kubeconfig": str(self.settings.kubeconfig)},
                **{"allowed_images": ["localhost/*"], "image_patience_s": 3},
            },
            **{"api": f"http://127.0.0.1:{self._api.server_port}", "url": self.url},
            **{"state": str(self.state), "token": _TOKEN},
        }
        around = {**os.environ, "KQI_TEST_HUB": json.dumps(given), "KUBECONFIG": str(self.settings.kubeconfig)}
        words = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "jupyterhub", "-f", str(_CONFIG)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, cwd=self.state, env=around, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self._process.poll() is None, self.log.read_text()[-4000:]
            try:
                if self.client.get("/info").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError(f"the hub did not come up: {self.log.read_text()[-4000:]}")

    def end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def forwarded(self, host: str, port: int) -> int:
        """Return a port of the machine that leads to a pod."""
        return self._lasting.submit(self.cluster.forward, host, port).result()

    @property
    def log(self) -> Path:
        return self.state / "hub.log"

    def run(self, person: str, server: str = "", *, text: str = SERVE, **changes: Any) -> WorkloadName:
        """Let the api admit a run for this server; the hub has not been asked for it yet."""
        name = checked_name(f"notebook-{next(_numbers)}")
        given: dict[str, Any] = {
            "image": "default",
            "resources": Resources(cpu_milli=50, memory_mib=64),
            "environment": {"HOME": "/tmp"},
            "secrets": {"KQI_TOKEN": Secret("hidden-away")},
            **changes,
        }
        self.runs[person, server] = Workload(
            name=name,
            command=("/bin/sh", "-c", text, "server"),
            workdir="/",
            log=StorePath(f"runs/{name}.log"),
            **given,
        )
        return name

    def ask(self, person: str, server: str = "", options: object = None) -> httpx.Response:
        self.client.post(f"/users/{person}")
        body = {"user_options": options} if options is not None else {}
        return self.client.post(_place(person, server), json=body)

    def events(self, person: str, server: str = "", language: str = "") -> Iterator[dict[str, Any]]:
        """Follow the start until its end."""
        headers = {"Accept-Language": language} if language else {}
        with self.client.stream("GET", f"{_place(person, server)}/progress", headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def opened(self, person: str, server: str = "", options: object = None) -> dict[str, Any]:
        """Start a server and return the last event of its start."""
        answer = self.ask(person, server, options)
        assert answer.status_code in {201, 202}, answer.text
        return list(self.events(person, server))[-1]

    def stop(self, person: str, server: str = "") -> None:
        answer = self.client.delete(_place(person, server))
        assert answer.status_code in {202, 204}, answer.text

    def server(self, person: str, server: str = "") -> dict[str, Any] | None:
        """Return what the hub says of an active server."""
        answer = self.client.get(f"/users/{person}").json()
        found = answer["servers"].get(server)
        return found if found and (found["ready"] or found["pending"]) else None

    def get(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        selector = f"-lkqi.io/workload={name}" if name else "-lkqi.io/workload"
        return list(self.cluster.get("-n", self.settings.namespace, kind, selector)["items"])

    def collected(self, name: WorkloadName) -> None:
        """Do what the platform does with a run that is over."""
        asyncio.run(self._forget(name))

    def left(self, name: WorkloadName) -> list[str]:
        return [one["metadata"]["name"] for kind in ("jobs", "pods", "secrets") for one in self.get(kind, name)]

    async def _forget(self, name: WorkloadName) -> None:
        backend = await KubernetesBackend.opened(self.settings)
        try:
            await backend.stop(name, grace_s=1)
            await Engine(backend).until(name, Phase.EXITED, Phase.LOST, Phase.ABSENT)
            await backend.forget(name)
        finally:
            await backend.close()


@contextmanager
def opened(cluster: Cluster, settings: KubernetesSettings, state: Path) -> Iterator[Hub]:
    hub = Hub(cluster=cluster, settings=settings, state=state)
    hub.open()
    try:
        yield hub
    finally:
        hub.close()


def _place(person: str, server: str) -> str:
    return f"/users/{person}/servers/{server}" if server else f"/users/{person}/server"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/forward":
                self._say(200, {"url": f"http://127.0.0.1:{hub.forwarded(body['host'], body['port'])}"})
                return
            hub.asked.append(body)
            workload = hub.runs.get((body["person"], body["server"]))
            if self.headers["Authorization"] != "Bearer service":
                self._say(401, {"detail": "not the hub"})
            elif workload is None:
                self._say(200, {"state": "queued", "detail": "You are number 3 of the queue."})
            else:
                self._say(200, {"state": "ready", "run": 1, "workload": wire.to_json(workload)})

        def _say(self, status: int, answer: object) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_words: object) -> None: ...

    return Answers
