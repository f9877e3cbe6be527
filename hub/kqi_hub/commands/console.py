"""What all commands share: the language of the terminal, settings, and errors as one sentence."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kqi_hub.errors import KqiError
from kqi_hub.i18n import choose, text
from kqi_hub.settings import Settings, load, terminal_language
from kqi_spawner.errors import BackendError

LANGUAGE = choose(terminal_language())
_COLOURS = {"proxy": 35, "hub": 33, "api": 36, "setup": 34, "kqi-hub": 32}


def t(key: str, **params: object) -> str:
    return text(key, LANGUAGE, params)


State = Annotated[Path | None, typer.Option("--state", help=t("help.state"))]
Config = Annotated[Path | None, typer.Option("--config", help=t("help.config"))]


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn what went wrong into one sentence and exit code 1."""
    try:
        yield
    except KqiError as error:
        typer.echo(f"kqi-hub: {text(error.code, LANGUAGE, error.params)}", err=True)
        raise typer.Exit(1) from error
    except (BackendError, OSError) as error:
        typer.echo(f"kqi-hub: {error}", err=True)
        raise typer.Exit(1) from error


def settings_of(config: Path | None = None, state: Path | None = None, **overrides: Any) -> Settings:
    return load(config, state=str(state) if state else None, **overrides)


def say(name: str, line: str) -> None:
    """Write a line of the readable log: time, who, what; colours only on a terminal."""
    label = f"{name:<8}"
    if sys.stdout.isatty():
        label = f"\x1b[{_COLOURS.get(name, 37)}m{label}\x1b[0m"
    # The terminal may be gone (SIGHUP, a closed pipe): that ends nothing.
    with contextlib.suppress(OSError):
        typer.echo(f"{time.strftime('%H:%M:%S')} {label} | {line}")
