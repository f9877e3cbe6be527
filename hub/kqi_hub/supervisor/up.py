"""Start the platform and keep it until it is told to stop."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from kqi_hub.engine import open_backend
from kqi_hub.environments import make as environments
from kqi_hub.errors import ConfigError, KqiError
from kqi_hub.i18n import text
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import Settings
from kqi_hub.storage.store import Store
from kqi_hub.supervisor import CONFIG_FILE, addresses, proxy, state
from kqi_hub.supervisor.children import Child, end_stale
from kqi_spawner.errors import BackendError
from kqi_spawner.local.backend import LocalBackend
from kqi_spawner.local.ledger import names as ledger_names
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase

Say = Callable[[str, str], None]
_AGAIN_S = 5.0
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How this start was asked for. `environment` makes children load the same settings."""

    settings: Settings
    environment: Mapping[str, str]
    language: str
    once: bool
    say: Say


async def up(start: Start) -> None:
    """Run the platform in the foreground. Raises ConfigError, having made nothing, for what keeps it from starting."""
    settings = start.settings
    _check_programs()
    state.prepare_folders(settings)
    with _only_one(settings):
        end_stale(settings.state / "run")
        runtime = addresses.choose(settings)
        Store(settings.store).prepare()
        await asyncio.to_thread(state.migrate_database, settings)
        for name in ("service-token", "proxy-token", "cookie-secret", "crypt-key"):
            kept_secret(settings, name)
        first = await state.first_account(settings)
        backend = await _engine(settings)
        try:
            async with _children(start, runtime):
                await _announce(start, runtime, first, backend)
                await _until_told(start, backend)
        finally:
            await backend.close()


async def stop_work(backend: LocalBackend, settings: Settings) -> list[str]:
    """Stop everything that runs, with grace; return the names."""
    names = await running_work(backend, settings)
    for name in names:
        await backend.stop(name, grace_s=_GRACE_S)
    async with asyncio.timeout(_GRACE_S * 3):
        async for _changed in _changes(backend):
            if not await running_work(backend, settings):
                break
    return [str(name) for name in names]


async def _changes(backend: LocalBackend) -> AsyncIterator[None]:
    """Yield at once, and again whenever the engine says that something changed."""
    yield
    async for _name in backend.changes():
        yield


async def running_work(backend: LocalBackend, settings: Settings) -> list[WorkloadName]:
    seen = await backend.observe(list(ledger_names(settings.state / "ledger")))
    return [name for name, status in seen.items() if status.phase in {Phase.RUNNING, Phase.PENDING}]


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of this state; the system lets go of it however we end."""
    with (settings.state / "run" / "supervisor.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError("already_up", path=settings.state) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@asynccontextmanager
async def _children(start: Start, runtime: Runtime) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(_proxy(start, runtime)),
        asyncio.create_task(_environment(start)),
        asyncio.create_task(_child(start, "hub", [sys.executable, "-m", "jupyterhub", "-f", CONFIG_FILE]).keep()),
        asyncio.create_task(_child(start, "api", [sys.executable, "-m", "kqi_hub.commands.serve"]).keep()),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _proxy(start: Start, runtime: Runtime) -> None:
    node = await asyncio.to_thread(proxy.find_node)
    try:
        script = await proxy.install(start.settings, node)
    except KqiError as error:
        start.say("proxy", text(error.code, start.language, error.params))
        os.kill(os.getpid(), signal.SIGTERM)
        return
    child = _child(start, "proxy", proxy.command(start.settings, runtime, node, script))
    token = kept_secret(start.settings, "proxy-token").reveal()
    child.environment = {**child.environment, "CONFIGPROXY_AUTH_TOKEN": token}
    await child.keep()


async def _environment(start: Start) -> None:
    """Make the default environment beside everything else; runs that need it are told while it is not there."""
    if environments.ready(start.settings):
        return
    start.say("setup", text("setup.environment", start.language))
    began = time.monotonic()
    try:
        await environments.make(start.settings, environments.DEFAULT, environments.DEFAULT_REQUIREMENTS)
    except (KqiError, OSError) as error:
        said = text(error.code, start.language, error.params) if isinstance(error, KqiError) else str(error)
        start.say("setup", said)
        return
    start.say("setup", text("setup.environment_ready", start.language, {"seconds": round(time.monotonic() - began)}))


def _child(start: Start, name: str, command: list[str]) -> Child:
    pid_file = start.settings.state / "run" / f"{name}.pid"
    return Child(name=name, command=command, environment=start.environment, pid_file=pid_file, say=start.say)


async def _engine(settings: Settings) -> LocalBackend:
    try:
        return await open_backend(settings)
    except BackendError as error:
        raise ConfigError("engine_not_usable", message=str(error)) from error


async def _announce(start: Start, runtime: Runtime, first: state.FirstAccount | None, backend: LocalBackend) -> None:
    """Say where to go, once somebody answers there."""
    settings = start.settings
    await _answers(settings, runtime)
    start.say("kqi-hub", text(backend.isolation.key, start.language))
    if first:
        values = {"name": first.name, "password": first.password.reveal()}
        start.say("kqi-hub", text("setup.first_account", start.language, values))
    start.say("kqi-hub", text("setup.ready", start.language, {"url": settings.url}))


async def _answers(settings: Settings, runtime: Runtime) -> None:
    """Return when the login page is there: the hub has told the proxy where it is, and answers."""
    port = int(runtime.proxy_api_url.rsplit(":", 1)[1])
    token = kept_secret(settings, "proxy-token").reveal()
    asked = f"GET /api/routes HTTP/1.0\r\nHost: localhost\r\nAuthorization: token {token}\r\n\r\n"
    while b'"/":' not in await _answer(port, asked):  # noqa: ASYNC110 - another process tells nobody
        await asyncio.sleep(0.1)
    asked = "GET /hub/login HTTP/1.0\r\nHost: localhost\r\n\r\n"
    while b" 200 " not in await _answer(runtime.hub_port, asked):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _answer(port: int, request: str) -> bytes:
    """Return what a process of ours answers, nothing while it does not."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        found = await reader.read()
        writer.close()
        return found
    except OSError:
        return b""


async def _until_told(start: Start, backend: LocalBackend) -> None:
    """Return at SIGTERM or SIGHUP, or at Ctrl-C; a second Ctrl-C within five seconds stops the work, too."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told.put_nowait, number)
    how = await told.get()
    work = await running_work(backend, start.settings)
    if start.once and work:
        await stop_work(backend, start.settings)
    elif how == signal.SIGINT and work:
        start.say("kqi-hub", text("setup.work_goes_on", start.language, {"names": ", ".join(work)}))
        with contextlib.suppress(TimeoutError):
            while await asyncio.wait_for(told.get(), _AGAIN_S) != signal.SIGINT:
                pass
            await stop_work(backend, start.settings)
            start.say("kqi-hub", text("setup.work_stopped", start.language))
    start.say("kqi-hub", text("setup.stopped", start.language))


def _check_programs() -> None:
    for name in ("git", "flock", "setpriv"):
        if shutil.which(name) is None:
            raise ConfigError("git_missing" if name == "git" else "program_missing", name=name)
