"""Look entries of the audit log up."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.log import AuditRow
from kqi_hub.clock import Moment
from kqi_hub.db.engine import Database

_BATCH = 1_000


class Search(BaseModel):
    """What a list may be narrowed to. `action` and `object` may end with `*`."""

    person: str | None = Field(default=None, max_length=64)
    action: str | None = Field(default=None, max_length=64)
    object: str | None = Field(default=None, max_length=128)
    tenant: str | None = Field(default=None, max_length=63)
    since: Moment | None = None
    until: Moment | None = None
    result: Literal["done", "refused"] | None = None


async def page(session: AsyncSession, search: Search, *, before: int | None, limit: int) -> Sequence[AuditRow]:
    """Return up to `limit` entries, newest first."""
    query = _narrowed(search).order_by(AuditRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.id < before)
    return (await session.execute(query)).scalars().all()


async def all_of(database: Database, search: Search) -> AsyncIterator[Sequence[AuditRow]]:
    """Yield the entries that there are by now, oldest first, some at a time; no transaction waits for the reader."""
    async with database.read() as session:
        last = await session.scalar(select(func.max(AuditRow.id))) or 0
    after = 0
    while True:
        wanted = _narrowed(search).where(AuditRow.id > after, AuditRow.id <= last)
        async with database.read() as session:
            rows = (await session.execute(wanted.order_by(AuditRow.id).limit(_BATCH))).scalars().all()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _narrowed(search: Search) -> Select[AuditRow]:
    query = select(AuditRow)
    if search.person is not None:
        query = query.where(AuditRow.person == search.person)
    if search.tenant is not None:
        query = query.where(AuditRow.tenant == search.tenant)
    if search.since is not None:
        query = query.where(AuditRow.at >= search.since)
    if search.until is not None:
        query = query.where(AuditRow.at < search.until)
    if search.result is not None:
        query = query.where(AuditRow.refused == "" if search.result == "done" else AuditRow.refused != "")
    for column, wanted in ((AuditRow.action, search.action), (AuditRow.object, search.object)):
        if wanted is not None and wanted.endswith("*"):
            query = query.where(column >= wanted[:-1], column < wanted[:-1] + "\U0010ffff")
        elif wanted is not None:
            query = query.where(column == wanted)
    return query
