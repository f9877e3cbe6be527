"""`kqi-hub image …`: named Python environments of the local engine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kqi_hub.commands.console import Config, State, plainly, settings_of, t
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.environments import make as environments
from kqi_hub.errors import Conflict, Invalid
from kqi_hub.runs import store
from kqi_hub.runs.model import Run
from kqi_hub.settings import Settings
from kqi_hub.supervisor import state as platform_state
from kqi_hub.supervisor.folders import prepare_folders

app = typer.Typer(no_args_is_help=True, help=t("help.image"))
_NAMED = 10  # of the work that an environment is kept for
Name = Annotated[str, typer.Argument(help=t("help.image_name"))]


@app.command("add", help=t("help.image_add"))
def add(
    name: Name,
    python: Annotated[Path | None, typer.Option(help=t("help.image_python"))] = None,
    requirements: Annotated[Path | None, typer.Option(help=t("help.image_requirements"))] = None,
    state: State = None,
    config: Config = None,
) -> None:
    with plainly():
        settings = settings_of(config, state)
        prepare_folders(settings)
        if (python is None) == (requirements is None):
            raise Invalid("image_one_of")
        if python is not None:
            environments.point(settings, name, python.absolute())
        elif requirements is not None:
            asyncio.run(environments.make(settings, name, requirements))
        typer.echo(t("image.added", name=name))


@app.command("list", help=t("help.image_list"))
def list_images(state: State = None, config: Config = None) -> None:
    with plainly():
        table = Table(t("list.name"), t("list.python"))
        for named in environments.listed(settings_of(config, state)):
            table.add_row(named.name, named.python)
        Console().print(table)


@app.command("remove", help=t("help.image_remove"))
def remove(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help=t("help.image_force"))] = False,
    state: State = None,
    config: Config = None,
) -> None:
    with plainly():
        settings = settings_of(config, state)
        work = asyncio.run(_at_work(settings))
        users = [f"{run.kind.value}/{run.number}" for run in work if environments.means(settings, run.image, name)]
        if users and not force:
            named = ", ".join(users[:_NAMED]) + (", …" if len(users) > _NAMED else "")
            raise Conflict("image_in_use", name=name, work=named)
        environments.remove(settings, name)
        if not work:
            environments.clear(settings)
        typer.echo(t("image.removed", name=name))


async def _at_work(settings: Settings) -> list[Run]:
    """Return the runs that have not ended, of an engine that has these environments."""
    if settings.engine.kind != "local" or not platform_state.is_there(settings):
        return []
    prepare_folders(settings)
    await asyncio.to_thread(platform_state.migrate_database, settings)
    database = Database.of(settings)
    try:
        async with database.read() as session:
            return await store.active(Scope(session))
    finally:
        await database.close()
