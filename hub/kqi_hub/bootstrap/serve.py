"""Run the service, and what works on its database beside it."""

import asyncio

import uvicorn

from kqi_hub.administration.hub import HubPeople
from kqi_hub.bootstrap.application import Around, application
from kqi_hub.db.engine import Database
from kqi_hub.engine import open_backend
from kqi_hub.interpreter import settle
from kqi_hub.runs.launcher import HubLauncher
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import Settings
from kqi_hub.vault import Vault, rotate
from kqi_hub.web.app import KEEP_ALIVE_S
from kqi_hub.web.hub_session import HubSession


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop; the supervisor has prepared its addresses."""
    asyncio.run(_serve(settings, Runtime.load(settings)))


async def _serve(settings: Settings, runtime: Runtime) -> None:
    token = kept_secret(settings, "service-token")
    session = HubSession(
        database=Database.of(settings),
        hub_url=runtime.hub_url,
        public_url=runtime.public_url,
        client_id=runtime.oauth_client_id,
        client_secret=token,
        key=kept_secret(settings, "sessions"),
    )
    backend = await open_backend(settings)
    launcher = HubLauncher(runtime.hub_url, token)
    hub = HubPeople(runtime.hub_url, token)
    around = Around(backend=backend, launcher=launcher, service=token, session=session, hub=hub)
    app = await application(settings, around)
    config = uvicorn.Config(
        app,
        host=runtime.api_host,
        port=runtime.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEEP_ALIVE_S,
        proxy_headers=True,
        forwarded_allow_ips=list(runtime.forwarded_by),
    )
    settle()
    try:
        await uvicorn.Server(config).serve()
    finally:
        await backend.close()
        await launcher.aclose()


async def seal_anew(settings: Settings) -> int:
    """Seal all that people entrusted to the platform by a new key; return how many things that are."""
    database = Database.of(settings)
    try:
        return await rotate(database, Vault.of(settings))
    finally:
        await database.close()
