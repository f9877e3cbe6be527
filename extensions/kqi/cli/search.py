"""Options that narrow lists. Times without a zone are those of this machine."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

from kqi.cli.commands import Opt
from kqi.client import Filter

Kind = TypeVar("Kind", bound=Filter)

Limit = Annotated[int, Opt("cli.option.limit", metavar="N")]


@dataclass(frozen=True, kw_only=True)
class Times:
    since: Annotated[datetime | None, Opt("cli.option.since", metavar="TIME")] = None
    until: Annotated[datetime | None, Opt("cli.option.until", metavar="TIME")] = None

    def start(self) -> datetime | None:
        return self.since and self.since.astimezone()

    def end(self) -> datetime | None:
        return self.until and self.until.astimezone()


@dataclass(frozen=True, kw_only=True)
class Search(Times):
    q: Annotated[str | None, Opt("cli.option.q", ("--search", "-q"), "TEXT")] = None
    created_by: Annotated[str | None, Opt("cli.option.created_by", metavar="NAME")] = None
    limit: Limit = 50

    def filter(self, kind: type[Kind], **more: Any) -> Kind:
        """Return the filter of that kind, with what only lists of its things are narrowed to."""
        return kind(q=self.q, created_by=self.created_by, since=self.start(), until=self.end(), **more)
