"""The service without a hub: the real application on a real port, signed in to by tokens."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import uvicorn
from fastapi import FastAPI

from kqi_hub.administration.hub import Hub, HubSessionInfo
from kqi_hub.bootstrap import Around, application
from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Directory
from kqi_hub.engine import open_backend
from kqi_hub.identity import people, tokens
from kqi_hub.runs.model import Run
from kqi_hub.settings import Settings
from kqi_hub.supervisor.state import migrate_database
from kqi_hub.web.app import KEEP_ALIVE_S
from kqi_hub.web.hub_session import HubSession
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.workload import Secret

SERVICE_TOKEN = "service-token-of-a-test"  # noqa: S105 - guards nothing


class NoHub:
    """A launcher for services without a hub: notebooks stay in preparation."""

    async def open(self, run: Run) -> str | None:
        await asyncio.Event().wait()
        return None

    async def close(self, run: Run) -> None:
        pass

    async def over(self, run: Run) -> None:
        pass


class NobodyAtTheHub:
    """A hub for services without one: nobody is signed in at a browser, and everybody is out at once."""

    async def sessions(self, person: str | None = None) -> list[HubSessionInfo]:
        return []

    async def end_sessions(self, person: str, session: str | None = None) -> int:
        return 0

    async def put_out(self, person: str) -> None:
        pass

    async def forget(self, person: str) -> None:
        pass

    async def aclose(self) -> None:
        pass


@dataclass(slots=True, kw_only=True)
class Running:
    """A service at work: `url` without a slash at the end."""

    settings: Settings
    app: FastAPI
    url: str
    database: Database
    backend: ExecutionBackend

    async def token(self, person: str, tenant: str = "sandbox", *, administrator: bool = False) -> str:
        """Return a token of a person, made with their tenant if missing."""
        async with self.database.write() as session:
            home = await people.ensure_tenant(session, tenant, tenant)
            row = await people.ensure_person(session, person, home, administrator=administrator)
            secret, _ = await tokens.create(session, row.id, "test", lasts=timedelta(days=1))
        return secret.reveal()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    backend: ExecutionBackend | None = None,
    directory: Directory | None = None,
    hub: Hub | None = None,
) -> AsyncIterator[Running]:
    """Run the service over `settings.state` until the block ends; without `backend` on the local engine."""
    settings.state.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(migrate_database, settings)
    engine = backend or await open_backend(settings)
    database = Database.of(settings)
    secret = Secret(SERVICE_TOKEN)
    session = HubSession(
        database=database,
        hub_url="http://127.0.0.1:9/hub",
        public_url=settings.url,
        client_id="service-kqi",
        client_secret=secret,
        key=secret,
    )
    around = Around(
        backend=engine,
        launcher=NoHub(),
        service=secret,
        session=session,
        hub=hub or NobodyAtTheHub(),
        directory=directory,
    )
    app = await application(settings, around)
    # With the protocol named, asyncio switches Nagle's algorithm off, as it does for sockets of its own.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", settings.server.port))
    config = uvicorn.Config(app, log_config=None, access_log=False)
    config.timeout_graceful_shutdown, config.timeout_keep_alive = 1, KEEP_ALIVE_S
    server = _Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        await server.up.wait()
        yield Running(settings=settings, app=app, url=settings.url, database=database, backend=engine)
    finally:
        server.should_exit = True
        await task
        await database.close()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
