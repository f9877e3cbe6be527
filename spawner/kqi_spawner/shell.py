"""Texts for a POSIX shell."""

import os
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from shlex import quote

# The parent of the user's command on every engine; what it reads before says where and what.
INSIDE = Path(str(resources.files("kqi_spawner").joinpath("inside.sh")))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Names that a shell changes, refuses to set or acts upon. They are handed to `env` instead.
_SHELL_OWN = re.compile(
    r"_|_kqi_.*|PATH|IFS|ENV|PPID|UID|EUID|GROUPS|PWD|OLDPWD|LINENO|OPT(?:IND|ARG|ERR)|PS[0-4]|RANDOM|SECONDS|SRANDOM|EPOCH.*"
    r"|SHELLOPTS|BASH.*|DIRSTACK|HISTCMD|HOSTNAME|HOSTTYPE|MACHTYPE|OSTYPE|SHLVL|POSIXLY_CORRECT|PIPESTATUS|FUNCNAME|COMP_.*"
    r"|LC_.*|LANG|LANGUAGE|TMOUT|FUNCNEST|CHILD_MAX|EXECIGNORE|GLOBIGNORE|COLUMNS|LINES|MAIL.*"
)


def exportable(name: str) -> bool:
    """Return whether a shell takes `name` as a variable and hands it on unchanged."""
    return bool(_IDENTIFIER.fullmatch(name)) and not _SHELL_OWN.fullmatch(name)


def export(name: str, value: str) -> str:
    """Return the line that sets the variable for children of the shell."""
    return f"export {name}={quote(value)}"


def assign(name: str, value: object) -> str:
    return f"{name}={quote(str(value))}"


def words(parts: Iterable[object]) -> str:
    """Return one command line that means exactly these words."""
    return " ".join(quote(str(part)) for part in parts)


def function(name: str, lines: Iterable[str]) -> str:
    """Return a function that runs `lines` one after the other and fails with the first that does."""
    body = [f"  {line} || return 1" for line in lines]
    return "\n".join([f"{name}() {{", *body, "  :", "}"])


def link_lines(links: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines that make each link, but never in place of a real file or folder."""
    lines = []
    for target, to in links:
        make = words(["ln", "-sfn", to, target])
        lines.append(words(["mkdir", "-p", os.path.dirname(target)]))
        lines.append(
            f"{{ {{ {words(['[', '-e', target, ']'])} && ! {words(['[', '-L', target, ']'])}; }} || {make}; }}"
        )
    return lines
