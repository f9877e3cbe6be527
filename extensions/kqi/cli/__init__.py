"""The command line `kqi`. Exit codes: see `exits.Code`."""

import os
import sys

import typer
from pydantic import ValidationError

from kqi.cli import (
    account,
    admin,
    audit,
    credentials,
    data,
    dataset,
    git_credential,
    governing,
    notebook,
    notifications,
    profile,
    servers,
    tenant,
    training,
)
from kqi.cli.build import build
from kqi.cli.exits import Code, complain, complain_of_file, complain_of_usage, complain_of_value, interrupted
from kqi.client.errors import KqiError

# A usage error of typer, whichever module of it holds the class.
USAGE_ERROR = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
COMMANDS = (
    *account.commands.table,
    *profile.commands.table,
    *credentials.commands.table,
    *notifications.commands.table,
    *git_credential.commands.table,
    *data.commands.table,
    *dataset.commands.table,
    *training.commands.table,
    *notebook.commands.table,
    *admin.commands.table,
    *audit.commands.table,
    *tenant.commands.table,
    *servers.commands.table,
    *governing.commands.table,
)


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return int(build(COMMANDS)(arguments, prog_name="kqi", standalone_mode=False) or 0)
    except KqiError as problem:
        return complain(problem)
    except ValidationError as problem:
        return complain_of_value(problem)
    except BrokenPipeError:
        # The reader has what it wanted; the interpreter must not complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.FAILED
    except OSError as problem:
        return complain_of_file(problem)
    except (KeyboardInterrupt, typer.Abort):
        return interrupted()
    except USAGE_ERROR as problem:  # type: ignore[misc]
        return complain_of_usage(problem)
