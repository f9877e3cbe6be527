"""`kqi-hub image …`: named Python environments of the local engine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kqi_hub.commands.console import Config, State, plainly, settings_of, t
from kqi_hub.environments import make as environments
from kqi_hub.errors import Invalid
from kqi_hub.supervisor.folders import prepare_folders

app = typer.Typer(no_args_is_help=True, help=t("help.image"))
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
def remove(name: Name, state: State = None, config: Config = None) -> None:
    with plainly():
        environments.remove(settings_of(config, state), name)
        typer.echo(t("image.removed", name=name))
