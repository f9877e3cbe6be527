"""How a command ends: one table of exit codes, one sentence for each error."""

import sys
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from kqi.client.errors import (
    BadFile,
    BadSettings,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Foreign,
    KqiError,
    NoServer,
    NotFound,
    NotSignedIn,
)
from kqi.faults import explain
from kqi.texts import language, say


class Code(IntEnum):
    """The exit codes of `kqi`; `MEANINGS` names what each means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_SIGNED_IN = 3
    NOT_FOUND = 4
    CONFLICT = 5
    FORBIDDEN = 6
    NO_CONNECTION = 7
    INTERRUPTED = 130


MEANINGS = {
    Code.OK: "cli.exit.ok",
    Code.FAILED: "cli.exit.failed",
    Code.USAGE: "cli.exit.usage",
    Code.NOT_SIGNED_IN: "cli.exit.not_signed_in",
    Code.NOT_FOUND: "cli.exit.not_found",
    Code.CONFLICT: "cli.exit.conflict",
    Code.FORBIDDEN: "cli.exit.forbidden",
    Code.NO_CONNECTION: "cli.exit.no_connection",
    Code.INTERRUPTED: "cli.exit.interrupted",
}
_CODES: tuple[tuple[type[KqiError], Code], ...] = (
    (NotSignedIn, Code.NOT_SIGNED_IN),
    (NoServer, Code.NOT_SIGNED_IN),
    (NotFound, Code.NOT_FOUND),
    (Conflict, Code.CONFLICT),
    (Forbidden, Code.FORBIDDEN),
    (ConnectionFailed, Code.NO_CONNECTION),
    (Foreign, Code.NO_CONNECTION),
    (BadFile, Code.USAGE),
    (BadSettings, Code.USAGE),
)
_USAGE = {
    "NoSuchOption": "cli.usage.no_such_option",
    "MissingParameter": "cli.usage.missing",
    "BadParameter": "cli.usage.bad_value",
    "BadOptionUsage": "cli.usage.bad_option",
}


class UsageProblem(KqiError):
    """The command line does not make sense."""


def code_of(problem: KqiError) -> Code:
    if isinstance(problem, UsageProblem):
        return Code.USAGE
    return next((code for kind, code in _CODES if isinstance(problem, kind)), Code.FAILED)


def complain(problem: KqiError) -> Code:
    """Say what went wrong and what to do next; return the exit code."""
    _say(say("cli.error", text=str(problem)))
    if isinstance(problem, NotSignedIn):
        _say(say("cli.hint.login"))
    return code_of(problem)


def complain_of_value(problem: ValidationError) -> Code:
    """Say which values do not fit the wire models."""
    for error in problem.errors():
        field = ".".join(str(part) for part in error["loc"])
        _say(say("cli.error", text=f"{field}: {explain(error, language())}"))
    return Code.USAGE


def complain_of_usage(problem: Exception) -> Code:
    """Say what is wrong with the command line; `problem` is one of typer's usage errors."""
    parameter = getattr(problem, "param", None)
    name = getattr(problem, "option_name", None) or (parameter and _name(parameter))
    key = _USAGE.get(type(problem).__name__) if name else None
    _say(say("cli.error", text=say(key or "cli.usage.other", name=name)))
    path = getattr(getattr(problem, "ctx", None), "command_path", "kqi")
    _say(say("cli.hint.help", command=path))
    return Code.USAGE


def complain_of_file(problem: OSError) -> Code:
    """Say which local file cannot be used."""
    return complain(BadFile("error.local_file", path=problem.filename or "", reason=problem.strerror or problem))


def interrupted() -> Code:
    _say(say("cli.interrupted"))
    return Code.INTERRUPTED


def leave(code: Code) -> None:
    """End the command with an exit code."""
    raise typer.Exit(int(code))


def _name(parameter: Any) -> str:
    """Return how a person calls a parameter of the command line."""
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar)


def _say(text: str) -> None:
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(Text(text))
