"""`kqi-hub backup` and `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from kqi_hub.commands.console import Config, State, plainly, settings_of, t
from kqi_hub.supervisor.backup import backup as write_backup
from kqi_hub.supervisor.backup import restore as read_backup

File = Annotated[Path, typer.Argument(help=t("help.backup_file"))]


def backup(
    file: File,
    store: Annotated[bool, typer.Option("--store", help=t("help.backup_store"))] = False,
    state: State = None,
    config: Config = None,
) -> None:
    with plainly():
        size = write_backup(settings_of(config, state), file.absolute(), with_store=store)
        typer.echo(t("backup.done", path=file, bytes=size))


def restore(
    file: File,
    force: Annotated[bool, typer.Option("--force", help=t("help.restore_force"))] = False,
    state: State = None,
    config: Config = None,
) -> None:
    with plainly():
        read_backup(settings_of(config, state), file.absolute(), force=force)
        typer.echo(t("restore.done", path=file))
