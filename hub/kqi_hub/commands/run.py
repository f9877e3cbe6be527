"""`kqi-hub up`, `down`, `migrate`, `check-config`, `install-service`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kqi_hub.commands.console import LANGUAGE, plainly, say, settings_of, t
from kqi_hub.db.place import place_of
from kqi_hub.engine import open_backend, open_local
from kqi_hub.environments import make as environments
from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings, as_environment, child_environment, one_time
from kqi_hub.supervisor import state as platform_state
from kqi_hub.supervisor.lock import end_holder
from kqi_hub.supervisor.up import Start, check_machine
from kqi_hub.supervisor.up import up as run_platform
from kqi_hub.supervisor.work import stop_work
from kqi_spawner.local.backend import LocalBackend

State = Annotated[Path | None, typer.Option("--state", help=t("help.state"))]
Config = Annotated[Path | None, typer.Option("--config", help=t("help.config"))]
_DOWN_S = 40.0


def up(  # noqa: PLR0913 - one parameter for each option
    state: State = None,
    config: Config = None,
    bind: Annotated[str | None, typer.Option(help=t("help.bind"))] = None,
    port: Annotated[int | None, typer.Option(help=t("help.port"))] = None,
    tls_cert: Annotated[Path | None, typer.Option(help=t("help.tls_cert"))] = None,
    tls_key: Annotated[Path | None, typer.Option(help=t("help.tls_key"))] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help=t("help.plain_http"))] = False,
) -> None:
    server = {"bind": bind, "port": port, "tls_cert": tls_cert, "tls_key": tls_key, "plain_http": plain_http or None}
    with plainly():
        settings = settings_of(config, state, server=server)
        _of_this_machine(settings)
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
        _of_this_machine(settings)
        typer.echo(t("down.done" if end_holder(settings, _DOWN_S) else "down.not_up"))
        # Afterwards: while it runs, the platform would start what waits in the queue.
        if work:
            asyncio.run(_stop_work(settings))


def migrate(state: State = None, config: Config = None) -> None:
    with plainly():
        settings = settings_of(config, state)
        platform_state.prepare_folders(settings)
        revision = platform_state.migrate_database(settings)
        typer.echo(t("migrate.done", path=place_of(settings).shown, revision=revision))


def check_config(state: State = None, config: Config = None) -> None:
    with plainly():
        settings = settings_of(config, state)
        typer.echo(json.dumps(_shown(settings), indent=2, ensure_ascii=False))
        typer.echo(t("check.database", path=place_of(settings).shown))
        if settings.engine.kind == "local":
            check_machine(settings)
        asyncio.run(_describe(settings))


def install_service(
    state: State = None,
    config: Config = None,
    only_print: Annotated[bool, typer.Option("--print", help=t("help.print"))] = False,
) -> None:
    with plainly():
        settings = settings_of(config, state)
        unit = _unit(settings, config)
        if only_print:
            typer.echo(unit)
            return
        path = Path("/etc/systemd/system/kqi-hub.service")
        path.write_text(unit, "utf-8")
        typer.echo(t("service.installed", path=path))


def _of_this_machine(settings: Settings) -> None:
    if settings.engine.kind != "local":
        raise ConfigError("engine_on_cluster")


async def _describe(settings: Settings) -> None:
    backend = await open_backend(settings)
    try:
        capacity = await backend.capacity()
        if isinstance(backend, LocalBackend):
            typer.echo(t(backend.isolation.key))
        typer.echo(t("check.capacity", cpu=capacity.cpu_milli / 1000, memory=round(capacity.memory_mib / 1024, 1)))
        for kind in capacity.gpus:
            typer.echo(t("check.gpu", kind=kind.name, indexes=", ".join(map(str, kind.indexes))))
        for named in environments.listed(settings):
            typer.echo(t("check.environment", name=named.name, python=named.python))
    finally:
        await backend.close()


async def _stop_work(settings: Settings) -> None:
    backend = await open_local(settings)
    try:
        names = await stop_work(backend, settings)
        typer.echo(t("down.work", names=", ".join(names) or "-"))
    finally:
        await backend.close()


def _shown(settings: Settings) -> dict[str, Any]:
    """Return the settings without what may be secret: variables of runs, and what is passed through to JupyterHub."""
    shown = settings.model_dump(mode="json")
    shown["defaults"] = dict.fromkeys(settings.defaults, "…")
    shown["traits"] = {name: dict.fromkeys(traits, "…") for name, traits in settings.traits.items()}
    return shown


def _unit(settings: Settings, config: Path | None) -> str:
    program = Path(sys.executable).with_name("kqi-hub")
    options = f" --state {settings.state}" + (f" --config {config.absolute()}" if config else "")
    return f"""[Unit]
Description=KQI Hub
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={program} up{options}
Restart=on-failure
# Work outlives the platform: only the supervisor is told to stop, and it ends its own children.
KillMode=process

[Install]
WantedBy=multi-user.target
"""
