"""The platform in its parts beside a cluster: what its deployments would run, each process to be killed alone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from kqi_hub.db.engine import Database
from kqi_hub.identity import people, tokens
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import Settings, load
from kqi_hub.supervisor import proxy
from kqi_hub.testing.service import free_port
from kqi_spawner.kubernetes.settings import KubernetesSettings

PROGRAM = Path(sys.executable).with_name("kqi-hub")
NAMES = ("proxy", "hub", "api")
_UP_S = 60.0


@dataclass(slots=True, kw_only=True)
class Parts:
    """Use as a context. `within` are words before each command: the network that it lives in.

    `door` leads from the machine to a port of that network; `url` is where it does for people.
    """

    engine: KubernetesSettings
    state: Path
    within: Sequence[str] = ()
    door: Callable[[int], int] = lambda port: port
    extra: Mapping[str, str] = field(default_factory=dict)  # traits of JupyterHub, as files of `config.d`
    settings: Mapping[str, Any] = field(default_factory=dict)
    url: str = field(init=False)
    _ports: dict[str, int] = field(init=False)
    _running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    _words: dict[str, list[str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._ports = {name: free_port() for name in ("people", *NAMES)}
        self.url = f"http://127.0.0.1:{self.door(self._ports['people'])}"
        for name, text in self.extra.items():
            (self.state / "config.d").mkdir(exist_ok=True)
            (self.state / "config.d" / name).write_text(text)
        subprocess.run([PROGRAM, "prepare"], env=self._around(), check=True, stdout=subprocess.DEVNULL)
        settings = self._settings()
        node = proxy.find_node()
        script = asyncio.run(proxy.install(settings, node))
        self._words = {
            "proxy": proxy.command(settings, Runtime.load(settings), node, script),
            "hub": [str(PROGRAM), "hub"],
            "api": [str(PROGRAM), "serve"],
        }
        try:
            for name in NAMES:
                self.start(name)
            self.until_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for name in reversed(NAMES):
            self.kill(name, signal.SIGTERM)

    def start(self, name: str, **variables: str) -> None:
        with self.log(name).open("ab") as log:
            words = ["setpriv", "--pdeathsig", "KILL", *self.within, *self._words[name]]
            around = {**self._around(), **variables}
            self._running[name] = subprocess.Popen(words, env=around, cwd=self.state, stdout=log, stderr=log)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    def ended(self, name: str) -> bool:
        """Say whether a part that was started has ended by itself; it may then be started again."""
        if self._running[name].poll() is None:
            return False
        del self._running[name]
        return True

    def pid(self, name: str) -> int:
        return self._running[name].pid

    @property
    def proxy_program(self) -> list[str]:
        """Node and the script that it runs."""
        return self._words["proxy"][:2]

    @property
    def proxy_api(self) -> tuple[str, str]:
        """The proxy's own address, and what opens it."""
        return f"http://127.0.0.1:{self._ports['proxy']}", kept_secret(self._settings(), "proxy-token").reveal()

    def log(self, name: str) -> Path:
        return self.state / f"{name}.log"

    def until_up(self) -> None:
        """Wait until hub and api answer through the proxy."""
        until = time.monotonic() + _UP_S
        places = ("/hub/api/", "/services/kqi/api/v1/version")
        while not all(self._answers(place) for place in places):
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended: {self.log(name).read_text()[-3000:]}"
            assert time.monotonic() < until, self.log("api").read_text()[-2000:] + self.log("hub").read_text()[-2000:]
            time.sleep(0.1)

    def tokens(self, names: Sequence[str]) -> dict[str, str]:
        """Make people and return a token of each."""
        return asyncio.run(self._tokens(names))

    async def _tokens(self, names: Sequence[str]) -> dict[str, str]:
        settings = self._settings()
        database = Database.of(settings)
        found = {}
        async with database.write() as session:
            tenant = await people.ensure_tenant(session, settings.default_tenant, settings.default_tenant)
            for name in names:
                person = await people.ensure_person(session, name, tenant)
                secret, _ = await tokens.create(session, person.id, "test", lasts=timedelta(days=1))
                found[name] = secret.reveal()
        await database.close()
        return found

    def _settings(self) -> Settings:
        return load(environ=self._said())

    def _answers(self, place: str) -> bool:
        try:
            return httpx.get(f"{self.url}{place}", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _around(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KQI_")}
        secret = {"CONFIGPROXY_AUTH_TOKEN": kept_secret(self._settings(), "proxy-token").reveal()}
        return {**clean, **secret, **self._said(), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

    def _said(self) -> dict[str, str]:
        engine = {name: getattr(self.engine, name) for name in ("platform", "namespace", "claim", "images", "user")}
        given = {
            "state": str(self.state),
            "store": str(self.engine.store),
            "server": {"port": self._ports["people"]},
            "engine": {"kind": "kubernetes"},
            "kubernetes": {**engine, "kubeconfig": str(self.engine.kubeconfig)},
            "addresses": {name: f"http://127.0.0.1:{self._ports[name]}" for name in NAMES},
            **self.settings,
        }
        return dict(_variables("KQI_HUB", given))


def _variables(name: str, given: object) -> Iterator[tuple[str, str]]:
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield from _variables(f"{name}__{key.upper()}", value)
    else:
        yield name, given if isinstance(given, str) else json.dumps(given)
