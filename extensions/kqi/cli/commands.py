"""Commands as they are declared: functions whose options are dataclasses, in a table. Nothing is built at import."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Opt:
    """An option: its help is a key of the catalogue. Without flags they are made from the field's name."""

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Arg:
    """A positional argument."""

    help: str
    metavar: str


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]  # the name, after those of its groups
    help: str
    body: Body


@dataclass(slots=True)
class Commands:
    """Commands of one module, in the order of the help page."""

    table: list[Command] = field(default_factory=list)

    def add(self, words: str, help_key: str) -> Callable[[Body], Body]:
        def register(body: Body) -> Body:
            self.table.append(Command(tuple(words.split()), help_key, body))
            return body

        return register


def flags(opt: Opt, name: str) -> tuple[str, ...]:
    return opt.flags or ("--" + name.replace("_", "-"),)


Values = dict[str, Any]
