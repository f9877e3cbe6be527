"""Errands: what takes longer than a request is recorded, done in the background, and leaves a report.

An errand is done step by step, and every step may be repeated: one that a crash cut off begins again from its first
step, finds what was done, and goes on.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi.schema import ErrandState
from kqi_hub.administration.rows import ErrandRow
from kqi_hub.audit.log import Entry, append, written
from kqi_hub.background.loop import each
from kqi_hub.clock import now
from kqi_hub.db.base import kept
from kqi_hub.db.engine import Database
from kqi_hub.errors import KqiError, NotFound, Unavailable
from kqi_hub.ids import PersonId

log = logging.getLogger(__name__)
_OPEN = (ErrandState.WAITING.value, ErrandState.WORKING.value)


class NotYet(Exception):
    """It cannot go on now: something else has to end first. Tried again with the next pass."""


@dataclass(slots=True, kw_only=True)
class Task:
    """An errand at work. `report` is kept by `save` and at the end."""

    id: int
    about: str
    asked: Mapping[str, Any]
    by: int
    report: dict[str, Any]
    database: Database

    def count(self, group: str, kind: str, number: int) -> None:
        found = self.report.setdefault(group, {})
        found[kind] = found.get(kind, 0) + number

    async def save(self) -> None:
        async with self.database.write() as session:
            values = {"report": kept(json.dumps(self.report, ensure_ascii=False))}
            await session.execute(update(ErrandRow).where(ErrandRow.id == self.id).values(**values))


Work = Callable[[Task], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`about` is the thing it is done to, as `person/hanako`."""

    kind: str
    about: str
    asked: Mapping[str, Any]
    by_id: PersonId
    by: str


@dataclass(slots=True, kw_only=True)
class Errands:
    """`kinds` says how each kind is done; `wake` lets the loop begin at once, wherever it runs."""

    database: Database
    kinds: Mapping[str, Work]
    may: Callable[[], bool] = field(default=lambda: True)
    wake: Callable[[], None] = field(default=lambda: None)

    async def one_pass(self) -> None:
        """Do what is open, in the order in which it was asked for; one that waits or fails keeps no other waiting."""
        await each([partial(self._do, number) for number in await self._open()])

    async def _open(self) -> list[int]:
        async with self.database.read() as session:
            query = select(ErrandRow.id).where(ErrandRow.state.in_(_OPEN)).order_by(ErrandRow.id)
            return list((await session.execute(query)).scalars())

    async def _do(self, number: int) -> None:
        if not self.may():
            return
        async with self.database.write() as session:
            row = await session.get_one(ErrandRow, number)
            if row.state not in _OPEN:
                return
            row.state, row.began_at = ErrandState.WORKING.value, row.began_at or now()
        task = Task(
            id=row.id,
            about=row.about,
            asked=json.loads(row.asked),
            by=row.by_id,
            report=json.loads(row.report),
            database=self.database,
        )
        try:
            await self.kinds[row.kind](task)
        except NotYet:
            return
        except Unavailable:
            await task.save()
            raise
        except KqiError as error:
            log.warning("errand failed", extra={"errand": number, "kind": row.kind}, exc_info=error)
            await self._end(task, ErrandState.FAILED, error.code)
        else:
            await self._end(task, ErrandState.DONE, "")

    async def _end(self, task: Task, state: ErrandState, fault: str) -> None:
        async with self.database.write() as session:
            row = await session.get_one(ErrandRow, task.id)
            row.state, row.fault, row.ended_at = state.value, fault, now()
            row.report = kept(json.dumps(task.report, ensure_ascii=False))
            details = written({"errand": task.id, **task.report})
            action = f"{row.kind}.{state.value}"
            await append(session, Entry(action=action, thing=row.about, person=task.by, refused=fault, details=details))


async def ask(session: AsyncSession, wanted: Wanted) -> ErrandRow:
    """Record an errand, in the transaction that checks whether it may be; the same one that is open is not doubled."""
    asked = json.dumps(dict(wanted.asked), sort_keys=True)
    same = (ErrandRow.kind == wanted.kind) & (ErrandRow.about == wanted.about) & (ErrandRow.asked == asked)
    query = select(ErrandRow).where(same, ErrandRow.state.in_(_OPEN)).limit(1)
    found = (await session.execute(query)).scalar_one_or_none()
    if found is not None:
        return found
    row = ErrandRow(
        kind=wanted.kind,
        about=wanted.about,
        state=ErrandState.WAITING.value,
        asked=asked,
        report="{}",
        by_id=wanted.by_id,
        by=wanted.by,
        at=now(),
    )
    session.add(row)
    await session.flush()
    return row


async def one(session: AsyncSession, number: int) -> ErrandRow:
    row = await session.get(ErrandRow, number)
    if row is None:
        raise NotFound("errand", number)
    return row


async def page(session: AsyncSession, *, before: int | None, limit: int) -> list[ErrandRow]:
    query = select(ErrandRow).order_by(ErrandRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ErrandRow.id < before)
    return list((await session.execute(query)).scalars())
