"""What was refused goes on record, too, and a flood of it neither fills the disk nor slows anybody.

The first refusal of its kind is written at once; those that follow within a minute, by the same person for the same
action and reason, are counted and become one entry. Of different kinds a bounded number is told apart: of each person,
so that nobody's flood hides what others were refused, and of all together whom the platform does not know.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import SQLAlchemyError

from kqi_hub.audit.log import Entry, append, written
from kqi_hub.db.engine import Database
from kqi_hub.errors import Unavailable

log = logging.getLogger(__name__)
_Kind = tuple[int | None, str, str, str]


@dataclass(slots=True)
class _Counted:
    entry: Entry
    times: int = 0  # beyond the one that was written


@dataclass(slots=True, kw_only=True)
class Refusals:
    """`kinds` bounds what is told apart in a minute; further ones of the same person, or of strangers, are one."""

    database: Database
    clock: Callable[[], float] = time.monotonic
    minute_s: float = 60.0
    kinds: int = 100
    _began: float = field(default=float("-inf"))
    _counted: dict[_Kind, _Counted] = field(default_factory=dict)
    _told: Counter[int | None] = field(default_factory=Counter)
    _later: "asyncio.Task[None] | None" = field(default=None)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def note(self, entry: Entry) -> None:
        """Put a refusal on record, or count it. Never raises what the database raises: the answer is the refusal."""
        await self.flush()
        kind = (entry.person, entry.name, entry.action, entry.refused)
        if kind not in self._counted and self._told[entry.person] >= self.kinds:
            entry = replace(entry, thing="*", address="", token=None, details="{}")
            entry = replace(entry, name="") if entry.person is None else replace(entry, action="*")
            kind = (entry.person, entry.name, entry.action, entry.refused)
        known = self._counted.get(kind)
        if known is not None:
            known.times += 1
            if self._later is None or self._later.done():
                self._later = asyncio.create_task(self._flush_later(), name="refusals")
            return
        self._counted[kind] = _Counted(entry)
        self._told[entry.person] += 1
        await self._write([entry])

    async def flush(self, *, now: bool = False) -> None:
        """Write the counts of a minute that is over; with `now` those of this one as well."""
        if not now and self.clock() - self._began < self.minute_s:
            return
        async with self._turn:
            if not now and self.clock() - self._began < self.minute_s:
                return
            over, self._counted, self._began = self._counted, {}, self.clock()
            self._told.clear()
            repeated = [
                replace(found.entry, details=written({**json.loads(found.entry.details), "times": found.times}))
                for found in over.values()
                if found.times
            ]
            if repeated:
                await self._write(repeated)

    async def close(self) -> None:
        """Write what is counted."""
        if self._later is not None:
            self._later.cancel()
        await self.flush(now=True)

    async def _flush_later(self) -> None:
        await asyncio.sleep(self.minute_s)
        await self.flush()

    async def _write(self, entries: list[Entry]) -> None:
        try:
            async with self.database.write() as session:
                for entry in entries:
                    await append(session, entry)
        except (Unavailable, SQLAlchemyError) as error:
            log.error("refusals could not be put on record", exc_info=error)
