"""`kqi-hub up`, `down`. What nothing else needs is loaded last: the platform is to be there at once."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from kqi_hub.commands.console import LANGUAGE, Config, State, plainly, say, settings_of, t
from kqi_hub.engine import open_local
from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings, as_environment, child_environment, one_time
from kqi_hub.supervisor.lock import end_holder
from kqi_hub.supervisor.up import Start
from kqi_hub.supervisor.up import up as run_platform
from kqi_hub.supervisor.work import stop_work

_DOWN_S = 40.0


def up(  # noqa: PLR0913 - one parameter for each option
    state: State = None,
    config: Config = None,
    bind: Annotated[str | None, typer.Option(help=t("help.bind"))] = None,
    port: Annotated[int | None, typer.Option(help=t("help.port"))] = None,
    tls_cert: Annotated[Path | None, typer.Option(help=t("help.tls_cert"))] = None,
    tls_key: Annotated[Path | None, typer.Option(help=t("help.tls_key"))] = None,
    public_url: Annotated[str | None, typer.Option("--public-url", help=t("help.public_url"))] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help=t("help.plain_http"))] = False,
) -> None:
    server = {"bind": bind, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    server |= {"public_url": public_url, "plain_http": plain_http or None}
    with plainly():
        settings = settings_of(config, state, server=server)
        of_this_machine(settings)
        given = as_environment({"state": settings.state, "server": server})
        if config is not None:
            given["KQI_HUB_CONFIG"] = str(config.absolute())
        environment = {**child_environment(), **given}
        start = Start(settings=settings, environment=environment, language=LANGUAGE, once=one_time(), say=say)
        asyncio.run(run_platform(start))


def down(
    state: State = None,
    config: Config = None,
    work: Annotated[bool, typer.Option("--work", help=t("help.down_work"))] = False,
) -> None:
    with plainly():
        settings = settings_of(config, state)
        of_this_machine(settings)
        typer.echo(t("down.done" if end_holder(settings, _DOWN_S) else "down.not_up"))
        # Afterwards: while it runs, the platform would start what waits in the queue.
        if work:
            asyncio.run(_stop_work(settings))


def of_this_machine(settings: Settings) -> None:
    if settings.engine.kind != "local":
        raise ConfigError("engine_on_cluster")


async def _stop_work(settings: Settings) -> None:
    backend = await open_local(settings)
    try:
        names = await stop_work(backend, settings)
        typer.echo(t("down.work", names=", ".join(names) or "-"))
    finally:
        await backend.close()
