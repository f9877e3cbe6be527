"""Who arrives together is let in together: sign-ins at the same time share one transaction and one write to disk."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from kqi_hub.audit import log as audit
from kqi_hub.db.engine import Database
from kqi_hub.directory.arrival import Arrived, arrive
from kqi_hub.directory.base import Entry, Refused

_TOGETHER = 25
# Where one came so shortly before, more are coming: they are waited for a moment.
_DENSE_S, _GATHER_S = 0.1, 0.03
Noted = Callable[[Arrived | Refused], audit.Entry]


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    noted: Noted
    done: "asyncio.Future[Arrived | Refused]"


class Door:
    """Transactions of writers come one after the other: those who come while one is under way make up the next."""

    def __init__(self, database: Database, default_tenant: str) -> None:
        self._database = database
        self._default_tenant = default_tenant
        self._waiting: list[_Waiting] = []
        self._opening: asyncio.Task[None] | None = None
        self._last = -math.inf

    async def arrive(self, entry: Entry, noted: Noted) -> Arrived | Refused:
        """Let somebody in; `noted` says what is put on record of it. Raises what the database raises."""
        one = _Waiting(entry, noted, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        return await one.done

    async def _open(self) -> None:
        while self._waiting:
            if time.monotonic() - self._last < _DENSE_S:
                await asyncio.sleep(_GATHER_S)
            now, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            try:
                found = await self._together(now)
            except Exception as error:  # noqa: BLE001 - each of those who wait is told
                if len(now) > 1:
                    await asyncio.gather(*(self._alone(one) for one in now))
                else:
                    _tell(now[0], error)
                continue
            for one, arrived in zip(now, found, strict=True):
                _tell(one, arrived)
            self._last = time.monotonic()

    async def _alone(self, one: _Waiting) -> None:
        try:
            found = await self._together([one])
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            _tell(one, error)
        else:
            _tell(one, found[0])

    async def _together(self, several: list[_Waiting]) -> list[Arrived | Refused]:
        async with self._database.write() as session:
            found = await arrive(session, [one.entry for one in several], default_tenant=self._default_tenant)
            await audit.append(session, *(one.noted(arrived) for one, arrived in zip(several, found, strict=True)))
            return found


def _tell(one: _Waiting, what: Arrived | Refused | Exception) -> None:
    if one.done.done():  # whoever waited has gone
        return
    if isinstance(what, Exception):
        one.done.set_exception(what)
    else:
        one.done.set_result(what)
