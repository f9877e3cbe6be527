"""`kqi-hub`: run and administer the platform."""

import os
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from kqi_hub.commands.console import t

# Command → the module of `commands` and what it is there. Only the one that is called is loaded: `up` is waited for.
_COMMANDS = {
    "up": ("run", "up"),
    "down": ("run", "down"),
    "migrate": ("upkeep", "migrate"),
    "check-config": ("upkeep", "check_config"),
    "backup": ("backups", "backup"),
    "restore": ("backups", "restore"),
    "rotate-keys": ("keys", "rotate_keys"),
    "install-service": ("upkeep", "install_service"),
    "prepare": ("parts", "prepare"),
    "hub": ("parts", "hub"),
    "serve": ("parts", "serve"),
    "user": ("users", "app"),
    "image": ("images", "app"),
}


class Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found = getattr(import_module(f"kqi_hub.commands.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name, help=t(f"help.{name}"))(found)
            found = alone
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=t("help.kqi_hub")
)


@app.callback()
def _all() -> None:
    """Without options of its own; Typer wants one where it knows no command."""


def main() -> None:
    # Whatever the administrator's shell has: environments and datasets are read by the workloads' account.
    os.umask(0o022)
    app()


if __name__ == "__main__":
    main()
