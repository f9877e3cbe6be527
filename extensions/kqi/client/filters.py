"""What lists are narrowed to; all that is given must fit."""

from dataclasses import asdict, dataclass
from datetime import datetime

from kqi.client.exchange import Query
from kqi.schema import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    since: datetime | None = None  # with a zone, as `until`
    until: datetime | None = None

    def query(self) -> Query:
        given = asdict(self)
        return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(_Times):
    """`q` searches what people wrote; `since` and `until` are about when it was made, `created_by` names by whom."""

    q: str | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFilter(Filter):
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter(Filter):
    phase: Phase | None = None
    tag: str | None = None
    dataset: int | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter(_Times):
    """`action` and `object` may end with `*`."""

    person: str | None = None
    action: str | None = None
    object: str | None = None
    tenant: str | None = None
    result: str | None = None  # done or refused
