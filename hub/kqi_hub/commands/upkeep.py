"""`kqi-hub migrate`, `check-config`, `install-service`."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kqi_hub.commands.console import Config, State, plainly, settings_of, t
from kqi_hub.db.place import place_of
from kqi_hub.engine import open_backend
from kqi_hub.environments import make as environments
from kqi_hub.settings import Settings, service_units
from kqi_hub.supervisor import state as platform_state
from kqi_hub.supervisor.folders import prepare_folders
from kqi_hub.supervisor.up import check_machine
from kqi_spawner.local.backend import LocalBackend


def migrate(state: State = None, config: Config = None) -> None:
    with plainly():
        settings = settings_of(config, state)
        prepare_folders(settings)
        revision = platform_state.migrate_database(settings)
        typer.echo(t("migrate.done", path=place_of(settings).shown, revision=revision))


def check_config(
    state: State = None,
    config: Config = None,
    ldap: Annotated[str | None, typer.Option("--ldap", metavar="USER", help=t("help.check_ldap"))] = None,
) -> None:
    with plainly():
        settings = settings_of(config, state)
        if ldap is not None:
            from kqi_hub.commands.directories import explain  # noqa: PLC0415 - libraries that nothing else needs

            if not asyncio.run(explain(settings, ldap)):
                raise typer.Exit(1)
            return
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
        path = service_units() / "kqi-hub.service"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit, "utf-8")
        typer.echo(t("service.installed" if os.geteuid() == 0 else "service.installed_for_user", path=path))


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


def _shown(settings: Settings) -> dict[str, Any]:
    """Return the settings without what may be secret: variables of runs, and what is passed through to JupyterHub."""
    shown = settings.model_dump(mode="json")
    shown["defaults"] = dict.fromkeys(settings.defaults, "…")
    shown["traits"] = {name: dict.fromkeys(traits, "…") for name, traits in settings.traits.items()}
    return shown


def _unit(settings: Settings, config: Path | None) -> str:
    words = [str(Path(sys.executable).with_name("kqi-hub")), "up", "--state", str(settings.state)]
    words += ["--config", str(config.absolute())] if config else []
    of_machine = os.geteuid() == 0
    # What an account has of systemd knows nothing of the network; who logs in finds the platform started.
    network = "After=network-online.target\nWants=network-online.target\n" if of_machine else ""
    return f"""[Unit]
Description=KQI Hub
{network}
[Service]
ExecStart={" ".join(map(_quoted, words))}
Restart=on-failure
# Work outlives the platform: only the supervisor is told to stop, and it ends its own children.
KillMode=process

[Install]
WantedBy={"multi-user.target" if of_machine else "default.target"}
"""


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back in ExecStart, whatever signs a path has."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if re.search(r"[^A-Za-z0-9/._+:@,=-]", plain) else plain
