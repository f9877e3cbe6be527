"""Start the platform and keep it until it is told to stop."""

import asyncio
import itertools
import shutil
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from kqi_hub.engine import open_local
from kqi_hub.environments import make as environments
from kqi_hub.errors import ConfigError, KqiError
from kqi_hub.i18n import text
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import Settings
from kqi_hub.storage.store import Store
from kqi_hub.supervisor import CONFIG_FILE, addresses, proxy
from kqi_hub.supervisor.account import FirstAccount
from kqi_hub.supervisor.children import Child, back_off_s, end_stale
from kqi_hub.supervisor.folders import prepare_folders
from kqi_hub.supervisor.gate import Gate
from kqi_hub.supervisor.ground import Ground
from kqi_hub.supervisor.lock import only_one
from kqi_hub.supervisor.work import running_work, stop_work
from kqi_spawner.errors import BackendError
from kqi_spawner.local.backend import LocalBackend

Say = Callable[[str, str], None]
Told = asyncio.Queue[int | KqiError]
_AGAIN_S = 5.0


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
    check_machine(settings)
    if not settings.state.exists():
        addresses.check_public(settings)
    prepare_folders(settings)
    with only_one(settings), Gate() as gate:
        end_stale(settings.state / "run")
        runtime = addresses.choose(settings)
        told = _told()
        async with AsyncExitStack() as at_last:
            async with _children(start, runtime, told, gate):
                backend, first = await _lay_ground(settings, at_last)
                gate.open()
                announcing = asyncio.create_task(_announce(start, runtime, first, backend))
                stop_too = await _until_told(start, backend, told)
                announcing.cancel()
            if stop_too:
                await stop_work(backend, settings)
            start.say("kqi-hub", text("setup.work_stopped" if stop_too else "setup.stopped", start.language))


async def _lay_ground(settings: Settings, at_last: AsyncExitStack) -> tuple[LocalBackend, FirstAccount | None]:
    """Make all that the parts find made."""
    Store(settings.store).prepare()
    ground = Ground(settings)
    await ground.lay_schema()
    for name in ("service-token", "proxy-token", "cookie-secret", "crypt-key"):
        kept_secret(settings, name)
    # Before the first account: its password must not be lost to a start that comes to nothing.
    backend = await _engine(settings)
    at_last.push_async_callback(backend.close)
    return backend, await ground.first_account()


def check_machine(settings: Settings) -> None:
    """Raises ConfigError for a program that is missing, or a certificate that cannot be used."""
    for name in ("git", "flock", "setpriv"):
        if shutil.which(name) is None:
            raise ConfigError("git_missing" if name == "git" else "program_missing", name=name)
    server = settings.server
    if server.tls_cert and server.tls_key:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
        except OSError as error:  # ssl.SSLError is one
            message = error.strerror or str(error)
            raise ConfigError("tls_unusable", cert=server.tls_cert, key=server.tls_key, message=message) from error


def _told() -> Told:
    """Return where signals arrive from now on, and what ends the platform from within."""
    told: Told = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told.put_nowait, number)
    return told


@asynccontextmanager
async def _children(start: Start, runtime: Runtime, told: Told, gate: Gate) -> AsyncIterator[None]:
    hub = _child(start, "hub", [sys.executable, "-m", "kqi_hub.jupyterhub.app", "-f", CONFIG_FILE], gate)
    api = _child(start, "api", [sys.executable, "-m", "kqi_hub.commands.serve"], gate)
    tasks = [
        asyncio.create_task(hub.keep()),
        asyncio.create_task(api.keep()),
        asyncio.create_task(_proxy(start, runtime, hub, told, gate)),
        asyncio.create_task(_environment(start, gate)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _proxy(start: Start, runtime: Runtime, hub: Child, told: Told, gate: Gate) -> None:
    await gate.passed()
    try:
        command = await _proxy_command(start, runtime)
    except KqiError as error:
        told.put_nowait(error)
        return
    child = _child(start, "proxy", command)
    token = kept_secret(start.settings, "proxy-token").reveal()
    child.environment = {**child.environment, "CONFIGPROXY_AUTH_TOKEN": token}
    # A new proxy knows no routes, and the hub looks only once a minute: its own start tells all of them in seconds.
    child.again = hub.restart
    child.readable = proxy.Words()
    await child.keep()


async def _proxy_command(start: Start, runtime: Runtime) -> list[str]:
    """Install the proxy, again after a while where the disk is full; return what runs it. Raises ConfigError."""
    for failures in itertools.count(1):
        try:
            node = await asyncio.to_thread(proxy.find_node)
            script = await proxy.install(start.settings, node)
            return proxy.command(start.settings, runtime, node, script)
        except OSError as error:
            values = {"how": str(error), "seconds": f"{back_off_s(failures):g}"}
            start.say("proxy", text("setup.child_ended", start.language, values))
            await asyncio.sleep(back_off_s(failures))
    raise AssertionError


async def _environment(start: Start, gate: Gate) -> None:
    """Make the default environment beside everything else; runs that need it are told while it is not there."""
    await gate.passed()
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


def _child(start: Start, name: str, command: list[str], gate: Gate | None = None) -> Child:
    pid_file = start.settings.state / "run" / f"{name}.pid"
    return Child(
        name=name,
        command=command,
        environment=start.environment,
        pid_file=pid_file,
        say=start.say,
        language=start.language,
        gate=gate,
    )


async def _engine(settings: Settings) -> LocalBackend:
    try:
        return await open_local(settings)
    except BackendError as error:
        raise ConfigError("engine_not_usable", message=str(error)) from error


async def _announce(start: Start, runtime: Runtime, first: FirstAccount | None, backend: LocalBackend) -> None:
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


async def _until_told(start: Start, backend: LocalBackend, told: Told) -> bool:
    """Return at a signal, with whether work is to be stopped, too: only Ctrl-C, twice or with `ONCE=1`, asks for it."""
    how = await told.get()
    if isinstance(how, KqiError):
        raise how
    if how != signal.SIGINT:
        return False
    work = await running_work(backend, start.settings)
    if not work or start.once:
        return bool(work)
    start.say("kqi-hub", text("setup.work_goes_on", start.language, {"names": ", ".join(work)}))
    try:
        return await asyncio.wait_for(told.get(), _AGAIN_S) == signal.SIGINT
    except TimeoutError:
        return False
