"""Whether the audit log is what was written: every entry follows from the one before, and the seals agree."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.log import AuditRow, link
from kqi_hub.audit.seals import AnchorRow, Keeper, Mark, SealRow, mark_of

_BATCH = 2_000
# Who has changed one entry has broken the chain once; more than this tell nobody more.
_MOST = 50


class Damage(StrEnum):
    """What is wrong with the log; each is a key of the catalogue, with `audit_` before it."""

    CHANGED = "changed"  # the entry is not what was written, or the one before it is not
    MISSING = "missing"  # entries are not there
    CUT = "cut"  # the newest are not there: a seal knows of them
    SEAL_DIFFERS = "seal_differs"  # the chain was made anew: a seal knows another hash
    SEAL_FORGED = "seal_forged"  # a seal or an anchor that was not made with the platform's key


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    damage: Damage
    first: int
    last: int


@dataclass(slots=True, kw_only=True)
class Verdict:
    """`first` and `last` are the entries looked at; those up to `sealed` are vouched for by a seal."""

    entries: int = 0
    first: int = 0
    last: int = 0
    sealed: int = 0
    faults: list[Fault] = field(default_factory=list)

    def blame(self, damage: Damage, first: int, last: int | None = None) -> None:
        if len(self.faults) < _MOST:
            self.faults.append(Fault(damage=damage, first=first, last=last or first))


async def verify(session: AsyncSession, keeper: Keeper) -> Verdict:
    """Look at the whole log, from where it begins by the rule of retention; in one snapshot."""
    # Before the snapshot: afterwards the file could know of entries that the snapshot does not have.
    outside = await asyncio.to_thread(keeper.outside)
    verdict = Verdict()
    start = await _start(session, keeper, verdict)
    seals = await _seals(session, keeper, outside, verdict)
    walk = _Walk(verdict=verdict, expected=start.entry + 1, before=start.hash, seals=seals)
    while batch := await _batch(session, max(start.entry, verdict.last)):
        await asyncio.to_thread(walk.through, batch)
    known = max(seals, default=start.entry)
    if max(known, start.entry) > verdict.last:
        verdict.blame(Damage.CUT, max(verdict.last, start.entry) + 1, max(known, start.entry + 1))
    verdict.sealed = min(known, verdict.last)
    return verdict


@dataclass(slots=True, kw_only=True)
class _Walk:
    verdict: Verdict
    expected: int
    before: str
    seals: dict[int, str]

    def through(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            if row.id != self.expected:
                self.verdict.blame(Damage.MISSING, self.expected, row.id - 1)
            elif link(self.before, row) != row.hash:
                self.verdict.blame(Damage.CHANGED, row.id)
            if self.seals.get(row.id, row.hash) != row.hash:
                self.verdict.blame(Damage.SEAL_DIFFERS, row.id)
            self.before, self.expected = row.hash, row.id + 1
        self.verdict.entries += len(rows)
        self.verdict.first = self.verdict.first or rows[0].id
        self.verdict.last = rows[-1].id


async def _start(session: AsyncSession, keeper: Keeper, verdict: Verdict) -> Mark:
    rows = (await session.execute(select(AnchorRow).order_by(AnchorRow.entry.desc()))).scalars()
    for mark in map(mark_of, rows):
        if keeper.genuine("anchor", mark):
            return mark
        verdict.blame(Damage.SEAL_FORGED, mark.entry)
    return Mark(entry=0, hash="", at="")


async def _seals(session: AsyncSession, keeper: Keeper, outside: Sequence[Mark], verdict: Verdict) -> dict[int, str]:
    inside = [mark_of(row) for row in (await session.execute(select(SealRow).order_by(SealRow.id))).scalars()]
    seals: dict[int, str] = {}
    for mark in [*inside, *outside]:
        if not keeper.genuine("seal", mark):
            verdict.blame(Damage.SEAL_FORGED, mark.entry)
        else:
            seals[mark.entry] = mark.hash
    return seals


async def _batch(session: AsyncSession, after: int) -> Sequence[Row[Any]]:
    columns = AuditRow.__table__.c
    query = select(*columns).where(columns.id > after).order_by(columns.id).limit(_BATCH)
    return (await session.execute(query)).all()
