"""A person's server that is a run: the api says what to start, an engine runs it. Common to all engines."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import aiohttp
from jupyterhub.spawner import Spawner, SpawnException
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from traitlets import Any as AnyTrait
from traitlets import Float, Unicode

from kqi_spawner import wire
from kqi_spawner.errors import BackendError, CannotStart
from kqi_spawner.jupyterhub.engine import ALIVE, SharedEngine
from kqi_spawner.jupyterhub.launch_context import LaunchContext
from kqi_spawner.jupyterhub.steps import Account, News
from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import Phase, Reason, WorkloadStatus
from kqi_spawner.workload import Secret, Workload

log = logging.getLogger(__name__)
# What the hub gives a server and nobody else should see.
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
_SECRETS = {TOKEN, "JPY_API_TOKEN"}
_GRACE_S = 10.0
_STOP_S = 30.0
_ASK = aiohttp.ClientTimeout(total=240)
_TRUST_S = 60  # for which a server believes what the hub said of a browser
_TICK_S = 0.2
_LAST_LINES, _LAST_CHARS = 8, 1500


class Options(BaseModel):
    """All that a person can ask of the hub: the server of this run. Anything else is asked of the api."""

    model_config = ConfigDict(extra="forbid", strict=True)
    run: int | None = Field(default=None, ge=1, le=2**53 - 1)


class RunServer(Spawner):  # type: ignore[misc]
    """Speaks with the api and with an engine; a subclass says where the server listens and how its token is found."""

    open_backend: Any = AnyTrait(help="Opens the engine").tag(config=True)
    api_url = Unicode(help="Address of the api, `/api/v1` included").tag(config=True)
    api_token_file = Unicode(help="File that holds the service token").tag(config=True)
    language_cookie = Unicode(help="Cookie that keeps the language a person chose").tag(config=True)
    say: Any = AnyTrait(help="(key, Accept-Language, params) → a text for the person").tag(config=True)
    slow_after = Float(60.0, help="Seconds after which a step of a start is said to take long").tag(config=True)

    _engines: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, SharedEngine]] = WeakKeyDictionary()

    workload: str = ""
    server_port: int = 0
    _launching: "asyncio.Task[Any] | None" = None
    _beginning: "asyncio.Task[None] | None" = None
    _stopping: bool = False

    @property
    def engine(self) -> SharedEngine:
        """Return the one engine of this event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._engines:
            self._engines[loop] = SharedEngine(self.open_backend)
        return self._engines[loop]

    @property
    def listens_on(self) -> str:
        """The address that the server binds to."""
        raise NotImplementedError

    async def place(self, asked: WorkloadName) -> int:
        """Return the port of a server that is new; whatever the next hub must know of it is kept."""
        raise NotImplementedError

    async def kept(self, name: WorkloadName) -> LaunchContext | None:
        """Return what is known again of a server that an earlier hub started."""
        raise NotImplementedError

    def half_begun(self, status: WorkloadStatus) -> bool:
        """Whether one of which nothing is kept is a start that was cut, to be made whole by another `begin`."""
        return False

    def let_go(self, name: WorkloadName) -> None:
        """The server is over: what was kept is of no use any more."""

    async def begin(self, workload: Workload) -> None:
        await (await self.engine.backend()).start(workload)

    async def up(self, name: WorkloadName) -> str | tuple[str, int]:
        """Wait until the server answers; return where. Raises SpawnException."""
        raise NotImplementedError

    def start(self) -> "asyncio.Task[Any]":
        self._stopping = False
        self._launching = asyncio.ensure_future(self._launch())
        return self._launching

    async def poll(self) -> int | None:
        if _busy(self._launching) or _busy(self._beginning):
            return None
        if not self.workload:
            return 0
        try:
            status = await self.engine.status(checked_name(self.workload))
        except Exception as error:  # the hub takes any for the end of a server, and forgets one that runs
            log.warning("a server cannot be observed", exc_info=error)
            return None  # not to know is no reason to end somebody's work
        if status.phase in ALIVE:
            return None
        self.let_go(checked_name(self.workload))
        return status.exit_code if status.exit_code is not None else 1

    async def stop(self, now: bool = False) -> None:
        """End it, also while it starts: the start then ends with that."""
        self._stopping = True
        if self._beginning is not None:
            # What is half begun is neither there nor not.
            await asyncio.wait([self._beginning])
        if self.workload:
            await self._end(checked_name(self.workload), 0 if now else _GRACE_S)
        elif self._launching is not None and _busy(self._launching):
            self._launching.cancel()

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        account, clock = Account(self.slow_after), asyncio.get_running_loop().time
        while not self.workload:
            for news in account.news(None, clock()):
                yield self._told(news)
            if not _busy(self._launching):
                return
            await asyncio.sleep(_TICK_S)
        async with contextlib.aclosing(self.engine.statuses(checked_name(self.workload))) as statuses:
            async for status in statuses:
                if not _busy(self._launching):
                    return
                for news in account.news(status, clock()):
                    yield self._told(news)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return {**state, "workload": self.workload, "server_port": self.server_port} if self.workload else state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.workload = state.get("workload", "")
        self.server_port = state.get("server_port", 0)

    def clear_state(self) -> None:
        super().clear_state()
        self.workload, self.server_port = "", 0

    async def delete_forever(self) -> None:
        """Homes are never deleted by the hub."""

    def refusal(self, key: str, reason: str, *, status_code: int = 400, **params: object) -> SpawnException:
        """Return what ends a start; `said` lets the hub tell each reader in their own language."""
        error = SpawnException(self._said(key, **params), reason=reason, status_code=status_code)
        error.said = {"key": key, "params": params}
        return error

    def _told(self, news: News) -> dict[str, Any]:
        said = {"key": news.key, "params": news.params}
        return {"progress": news.percent, "message": self._said(news.key, **news.params), "said": said}

    async def _launch(self) -> str | tuple[str, int]:
        answer = await self._ask()
        if answer["state"] != "ready":
            raise SpawnException(answer["detail"], reason="queued", status_code=409)
        asked = wire.from_json(answer["workload"])
        try:
            await self._take_over_or_place(asked.name)
            if self._stopping:
                raise self.refusal("spawn.stopped", "stopped")
            self.workload = asked.name
            self._beginning = asyncio.ensure_future(self.begin(self._with_server(asked)))
            # A start that is given up must not leave something half begun.
            await asyncio.shield(self._beginning)
        except BackendError as error:
            await self._clear(asked.name)
            key = "spawn.cannot_start" if isinstance(error, CannotStart) else "spawn.ended"
            raise self.refusal(key, "cannot_start", message=str(error)) from error
        return await self._unless_it_ends(asked.name)

    @property
    def _accept_language(self) -> str:
        """What the browser wants to read; a language that was chosen comes first."""
        if not self.handler:
            return ""
        chosen = self.handler.get_cookie(self.language_cookie) or ""
        return f"{chosen},{self.handler.request.headers.get('Accept-Language', '')}"

    def _said(self, key: str, **params: object) -> str:
        return str(self.say(key, self._accept_language, params))

    def _options(self) -> Options:
        """Return what was asked for. What another Spawner once saved for this person is no request."""
        given = self.user_options or {}
        if isinstance(given, dict) and "run" not in given:
            return Options()
        try:
            return Options.model_validate(given)
        except ValidationError as error:
            what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise self.refusal("spawn.bad_option", "bad_option", message=what) from error

    async def _ask(self) -> dict[str, Any]:
        options = self._options()
        token = Path(self.api_token_file).read_text("utf-8").strip()
        body = {"person": self.user.name, "server": self.name, "run": options.run}
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": self._accept_language}
        try:
            place = f"{self.api_url}/internal/launch"
            async with self.engine.http.post(place, json=body, headers=headers, timeout=_ASK) as answer:
                found: dict[str, Any] = await answer.json(content_type=None)
                if answer.status != 200:
                    raise SpawnException(str(found.get("detail", answer.reason)), reason="refused")
                return found
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise self.refusal("spawn.api_away", "api_away", status_code=503) from error

    async def _take_over_or_place(self, name: WorkloadName) -> None:
        """Take up the server of this name that a dying hub left behind; keep what the next hub would need."""
        status = await self.engine.status(name)
        alive = status.phase in ALIVE
        kept = await self.kept(name) if alive else None
        if kept:
            # The hub makes this token valid again in place of the one that it has just drawn.
            self.server_port, self.api_token = kept.port, kept.api_token
        elif alive and not self.half_begun(status):
            await self._end(name, 0)
            raise self.refusal("spawn.not_taken_over", "not_taken_over")
        else:
            self.server_port = await self.place(name)

    def _with_server(self, asked: Workload) -> Workload:
        own = {name: str(value) for name, value in self.get_env().items() if name.startswith(("JUPYTERHUB_", "JPY_"))}
        environment = {name: value for name, value in own.items() if name not in _SECRETS}
        secrets = {name: Secret(value) for name, value in own.items() if name in _SECRETS}
        arguments = (
            f"--ServerApp.ip={self.listens_on}",
            f"--ServerApp.port={self.server_port}",
            "--ServerApp.port_retries=0",
            "--ContentsManager.allow_hidden=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            f"--HubOAuth.cache_max_age={_TRUST_S}",
        )
        return replace(
            asked,
            command=(*asked.command, *arguments),
            environment={**asked.environment, **environment},
            secrets={**asked.secrets, **secrets},
            port=self.server_port,
        )

    async def _unless_it_ends(self, name: WorkloadName) -> str | tuple[str, int]:
        """Return where it answers, or raise why it has ended: else the hub would wait out its http_timeout."""
        ended = asyncio.ensure_future(self.engine.left(name, ALIVE))
        up = asyncio.ensure_future(self.up(name))
        try:
            await asyncio.wait({ended, up}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await self._ended_at_once(name, ended.result())
            return up.result()
        finally:
            ended.cancel()
            up.cancel()

    async def _ended_at_once(self, name: WorkloadName, status: WorkloadStatus) -> None:
        """Raise what the person can do something with: the engine's reason, or the server's own last words."""
        self.let_go(name)
        if status.reason is Reason.STOPPED:
            raise self.refusal("spawn.stopped", "stopped")
        message = status.message or await self.last_words(name) or str(status.exit_code)
        key = "spawn.cannot_start" if status.reason is Reason.CANNOT_START else "spawn.ended"
        raise self.refusal(key, "ended", message=message)

    async def last_words(self, name: WorkloadName) -> str:
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
        self.let_go(name)

    async def _clear(self, name: WorkloadName) -> None:
        """Drop what a start left in the engine that could not even begin."""
        with contextlib.suppress(BackendError):
            if (await self.engine.status(name)).phase is Phase.ABSENT:
                await (await self.engine.backend()).forget(name)
                self.let_go(name)


def _busy(task: "asyncio.Task[Any] | None") -> bool:
    return task is not None and not task.done()
