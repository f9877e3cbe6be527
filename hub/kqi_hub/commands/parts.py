"""`kqi-hub prepare`, `hub`, `serve`: the platform in parts, where each is a deployment of its own."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from kqi_hub.commands.console import Config, plainly, settings_of, t
from kqi_hub.runtime import Runtime
from kqi_hub.settings import Settings, part_environment
from kqi_hub.storage.store import Store
from kqi_hub.supervisor import CONFIG_FILE
from kqi_hub.supervisor import state as platform_state
from kqi_hub.supervisor.folders import prepare_folders

_LOOK_S = 0.5


def prepare(
    config: Config = None,
    wait: Annotated[bool, typer.Option("--wait", help=t("help.prepare_wait"))] = False,
) -> None:
    """Everything that the parts find made: folders, schema, the first tenant and administrator. May be repeated."""
    with plainly():
        settings = settings_of(config)
        prepare_folders(settings)
        if wait:
            asyncio.run(_until_prepared(settings))
            return
        Store(settings.store).prepare()
        revision = platform_state.migrate_database(settings)
        asyncio.run(platform_state.first_account(settings))
        typer.echo(t("migrate.done", revision=revision))


def hub(config: Config = None) -> None:
    with plainly():
        settings = settings_of(config)
        prepare_folders(settings)
        Runtime.load(settings)
    words = [sys.executable, "-m", "kqi_hub.jupyterhub.app", "-f", CONFIG_FILE]
    os.execve(sys.executable, words, part_environment(settings, config))  # noqa: S606 - a part becomes its program


def serve(config: Config = None) -> None:
    # The whole service, which no other command should wait for.
    from kqi_hub.commands import serve as api  # noqa: PLC0415

    with plainly():
        settings = settings_of(config)
        prepare_folders(settings)
    api.main(settings)


async def _until_prepared(settings: Settings) -> None:
    while not await platform_state.prepared(settings):  # noqa: ASYNC110 - another machine's work tells nobody
        await asyncio.sleep(_LOOK_S)
