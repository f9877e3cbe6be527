"""A lease: of all processes on a database, one at a time may do what it names.

No clock of one machine is compared with that of another. The holder raises a number every `renew_s`; it may act for
`lasts_s` after it began its last successful renewal. Whoever wants the lease takes it once they have seen the number
stand still for longer than that by their own clock, or know that the holder's process has ended.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.background.process import is_gone, this_process
from kqi_hub.background.signals import Signals
from kqi_hub.background.waiting import wait
from kqi_hub.db.base import Base, Words
from kqi_hub.db.engine import Database
from kqi_hub.errors import KqiError

log = logging.getLogger(__name__)
_TOPIC = "lease"
_NOBODY = ""


class LeaseRow(Base):
    """`owner` is empty when it was given back; `beat` changes with each renewal and each owner."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(Words(32), primary_key=True)
    owner: Mapped[str]
    beat: Mapped[int]


@dataclass(slots=True, kw_only=True)
class Lease:
    database: Database
    signals: Signals
    name: str
    lasts_s: float = 8.0
    renew_s: float = 2.0
    look_s: float = 1.0
    owner: str = field(default_factory=this_process)
    _held_until: float = field(default=0.0)
    _seen: tuple[str, int] | None = field(default=None)
    _seen_at: float = field(default=0.0)
    _given_back: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def held(self) -> bool:
        """Whether this process may act now; to be asked before each step."""
        return time.monotonic() < self._held_until

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` whenever the lease is ours, until cancelled; it is cancelled itself when the lease is lost."""
        self.signals.on(_TOPIC, lambda _about: self._given_back.set())
        try:
            while True:
                await self._acquire()
                log.info("lease taken", extra={"lease": self.name, "owner": self.owner})
                task = asyncio.ensure_future(work())
                try:
                    await self._keep(task)
                finally:
                    await _ended(task)
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while not self.held:
            began = time.monotonic()
            try:
                if await self._try():
                    self._held_until = began + self.lasts_s
                    return
            except KqiError as error:
                log.warning("lease not asked for", extra={"lease": self.name}, exc_info=error)
            self._given_back.clear()
            await wait(self._given_back, self.look_s)

    async def _try(self) -> bool:
        async with self.database.read() as session:
            columns = select(LeaseRow.owner, LeaseRow.beat).where(LeaseRow.name == self.name)
            found = (await session.execute(columns)).one_or_none()
        if found is None:
            async with self.database.write() as session:
                if (await session.execute(columns)).one_or_none() is None:
                    await session.execute(insert(LeaseRow).values(name=self.name, owner=self.owner, beat=1))
                    return True
            return False
        seen = (found.owner, found.beat)
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        still_s = time.monotonic() - self._seen_at
        free = found.owner in {_NOBODY, self.owner} or is_gone(found.owner) or still_s > self.lasts_s + self.renew_s
        return free and await self._set(self.owner, *seen)

    async def _keep(self, task: "asyncio.Future[None]") -> None:
        """Renew it until it is lost, or the work has come to an end that it should not have."""
        while self.held:
            await asyncio.wait([task], timeout=self.renew_s)
            if task.done():
                log.error("work ended", extra={"lease": self.name}, exc_info=task.exception())
                return
            began = time.monotonic()
            try:
                async with self.database.read() as session:
                    beat = await session.scalar(select(LeaseRow.beat).where(LeaseRow.name == self.name))
                if not await self._set(self.owner, self.owner, beat or 0):
                    break
                self._held_until = began + self.lasts_s
            except KqiError as error:
                log.warning("lease not renewed", extra={"lease": self.name}, exc_info=error)
        self._held_until = 0.0
        log.warning("lease lost", extra={"lease": self.name, "owner": self.owner})

    async def _set(self, owner: str, old: str, beat: int) -> bool:
        """Set owner and beat if they are what they were."""
        same = (LeaseRow.name == self.name) & (LeaseRow.owner == old) & (LeaseRow.beat == beat)
        async with self.database.write() as session:
            done = await session.execute(update(LeaseRow).where(same).values(owner=owner, beat=beat + 1))
        return bool(done.rowcount == 1)  # type: ignore[attr-defined]

    async def _release(self) -> None:
        """Give it back, so that nobody has to wait for it to run out."""
        if not self.held:
            return
        self._held_until = 0.0
        try:
            mine = (LeaseRow.name == self.name) & (LeaseRow.owner == self.owner)
            async with self.database.write() as session:
                await session.execute(update(LeaseRow).where(mine).values(owner=_NOBODY, beat=LeaseRow.beat + 1))
        except KqiError as error:
            log.warning("lease not given back", extra={"lease": self.name}, exc_info=error)
        self.signals.send(_TOPIC)


async def _ended(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
