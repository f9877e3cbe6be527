"""The Spawner of the local engine: asks the api what to start, and starts it as any other workload."""

import asyncio
import json
import logging
import socket
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from jupyterhub.spawner import Spawner, SpawnException
from traitlets import Any as AnyTrait
from traitlets import Unicode

from kqi_spawner import wire
from kqi_spawner.errors import BackendError
from kqi_spawner.jupyterhub.engine import ALIVE, SharedEngine
from kqi_spawner.jupyterhub.launch_context import LaunchContext, LaunchContexts
from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import WorkloadStatus
from kqi_spawner.workload import Secret, Workload

log = logging.getLogger(__name__)
# What the hub gives a server and nobody else should see.
_SECRETS = {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"}
_HOST = "127.0.0.1"
_GRACE_S = 10.0
_STOP_S = 30.0
_KNOCK_S = 0.1
_LAST_LINES, _LAST_CHARS = 8, 1500
# The hub takes an error of `poll` for the end of a server, and forgets one that runs.
_NOT_KNOWN = (BackendError, OSError, ValueError, LookupError, RuntimeError)


class KqiLocalSpawner(Spawner):  # type: ignore[misc]
    """Runs a person's server as a workload of the local engine; what and with which inputs is the api's decision."""

    open_backend: Any = AnyTrait(help="Opens the engine").tag(config=True)
    api_url = Unicode(help="Address of the api, `/api/v1` included").tag(config=True)
    api_token_file = Unicode(help="File that holds the service token").tag(config=True)
    contexts_folder = Unicode(help="Folder of the hub's own for what an interrupted start must find again").tag(
        config=True
    )
    language_cookie = Unicode(help="Cookie that keeps the language a person chose").tag(config=True)
    say: Any = AnyTrait(help="(key, Accept-Language, params) → a text for the person").tag(config=True)

    _engines: ClassVar[dict[int, SharedEngine]] = {}

    workload: str = ""
    server_port: int = 0

    @property
    def engine(self) -> SharedEngine:
        """Return the one engine of this event loop."""
        loop = id(asyncio.get_running_loop())
        return self._engines.setdefault(loop, SharedEngine(self.open_backend))

    @property
    def contexts(self) -> LaunchContexts:
        return LaunchContexts(Path(self.contexts_folder))

    async def start(self) -> tuple[str, int]:
        answer = await self._ask()
        if answer["state"] != "ready":
            raise SpawnException(answer["detail"], reason="queued", status_code=409)
        asked = wire.from_json(answer["workload"])
        try:
            await self._take_over_or_draw_port(asked.name)
            self.workload = asked.name
            await (await self.engine.backend()).start(self._with_server(asked))
            # Up to start_timeout, which the hub itself bounds.
            status = await self._ended_before_it_listens(asked.name)
        except BackendError as error:
            raise SpawnException(self._said("spawn.ended", message=str(error)), reason="cannot_start") from error
        if status is not None:
            await self._ended_at_once(asked.name, status)
        return _HOST, self.server_port

    async def poll(self) -> int | None:
        if not self.workload:
            return 0
        try:
            status = await self.engine.status(checked_name(self.workload))
        except _NOT_KNOWN as error:
            log.warning("a server cannot be observed", exc_info=error)
            return None  # not to know is no reason to end somebody's work
        if status.phase in ALIVE:
            return None
        self.contexts.forget(checked_name(self.workload))
        return status.exit_code if status.exit_code is not None else 1

    async def stop(self, now: bool = False) -> None:
        if self.workload:
            await self._end(checked_name(self.workload), 0 if now else _GRACE_S)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "workload": self.workload, "server_port": self.server_port}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.workload = state.get("workload", "")
        self.server_port = state.get("server_port", 0)

    def clear_state(self) -> None:
        super().clear_state()
        self.workload, self.server_port = "", 0

    async def delete_forever(self) -> None:
        """Homes are never deleted by the hub."""

    @property
    def _accept_language(self) -> str:
        """What the browser wants to read; a language that was chosen comes first."""
        if not self.handler:
            return ""
        chosen = self.handler.get_cookie(self.language_cookie) or ""
        return f"{chosen},{self.handler.request.headers.get('Accept-Language', '')}"

    def _said(self, key: str, **params: object) -> str:
        return str(self.say(key, self._accept_language, params))

    async def _ask(self) -> dict[str, Any]:
        token = Path(self.api_token_file).read_text("utf-8").strip()
        body = {"person": self.user.name, "server": self.name, "run": self.user_options.get("run")}
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": self._accept_language}
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=240)) as session:
                place = f"{self.api_url}/internal/launch"
                async with session.post(place, json=body, headers=headers) as answer:
                    found: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status != 200:
                        raise SpawnException(str(found.get("detail", answer.reason)), reason="refused")
                    return found
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise SpawnException(self._said("spawn.api_away"), reason="api_away", status_code=503) from error

    async def _take_over_or_draw_port(self, name: WorkloadName) -> None:
        """Take up the server of this name that a dying hub left behind; keep what the next hub would need."""
        alive = (await self.engine.status(name)).phase in ALIVE
        kept = self.contexts.of(name)
        if alive and kept:
            # The hub makes this token valid again in place of the one that it has just drawn.
            self.server_port, self.api_token = kept.port, kept.api_token
        elif alive:
            await self._end(name, 0)
            raise SpawnException(self._said("spawn.not_taken_over"), reason="not_taken_over")
        else:
            self.server_port = _free_port()
            # Before it begins: whatever runs must be found again.
            self.contexts.keep(name, LaunchContext(port=self.server_port, api_token=self.api_token))

    def _with_server(self, asked: Workload) -> Workload:
        own = {name: str(value) for name, value in self.get_env().items() if name.startswith(("JUPYTERHUB_", "JPY_"))}
        environment = {name: value for name, value in own.items() if name not in _SECRETS}
        secrets = {name: Secret(value) for name, value in own.items() if name in _SECRETS}
        arguments = (
            f"--ServerApp.ip={_HOST}",
            f"--ServerApp.port={self.server_port}",
            "--ServerApp.port_retries=0",
            "--ContentsManager.allow_hidden=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        )
        return replace(
            asked,
            command=(*asked.command, *arguments),
            environment={**asked.environment, **environment},
            secrets={**asked.secrets, **secrets},
            port=self.server_port,
        )

    async def _ended_before_it_listens(self, name: WorkloadName) -> WorkloadStatus | None:
        """Return None once it listens, its status if it has ended: else the hub would wait out its http_timeout."""
        ended = asyncio.ensure_future(self.engine.left(name, ALIVE))
        listens = asyncio.ensure_future(_listens(self.server_port))
        try:
            await asyncio.wait({ended, listens}, return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            ended.cancel()
            listens.cancel()

    async def _ended_at_once(self, name: WorkloadName, status: WorkloadStatus) -> None:
        """Raise what the person can do something with: the engine's reason, or the server's own last words."""
        self.contexts.forget(name)
        message = status.message or await self._last_words(name) or str(status.exit_code)
        raise SpawnException(self._said("spawn.ended", message=message), reason="ended")

    async def _last_words(self, name: WorkloadName) -> str:
        ending: deque[bytes] = deque(maxlen=2)
        async for chunk in (await self.engine.backend()).logs(name, follow=False):
            ending.append(chunk)
        lines = b"".join(ending).decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        shown = "\n".join("".join(char for char in line if char.isprintable()) for line in lines)
        return shown[-_LAST_CHARS:].strip()

    async def _end(self, name: WorkloadName, grace_s: float) -> None:
        """End it and wait for that. Raises TimeoutError if it does not even end when killed."""
        backend = await self.engine.backend()
        await backend.stop(name, grace_s=grace_s)
        async with asyncio.timeout(grace_s + _STOP_S):
            await self.engine.left(name, ALIVE)
        self.contexts.forget(name)


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(_HOST, port)
        except OSError:
            await asyncio.sleep(_KNOCK_S)
        else:
            writer.close()
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
