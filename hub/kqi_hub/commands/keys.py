"""`kqi-hub rotate-keys`."""

import asyncio

import typer

from kqi_hub import bootstrap
from kqi_hub.commands.console import Config, State, plainly, settings_of, t


def rotate_keys(state: State = None, config: Config = None) -> None:
    with plainly():
        count = asyncio.run(bootstrap.seal_anew(settings_of(config, state)))
    typer.echo(t("keys.rotated", count=count))
