"""End the runs of people who are suspended."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import select

from kqi.schema import StopMode
from kqi_hub.audit.log import Entry, append, written
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.runs import store
from kqi_hub.runs.model import ACTIVE
from kqi_hub.runs.rows import RunRow
from kqi_hub.runs.service import RunService

# A run that wants longer than this to finish is killed: what somebody does who is suspended ends within a minute.
_GRACE_S = 30.0
REASON = "account_disabled"


@dataclass(slots=True, kw_only=True)
class EndSuspended:
    """An `OnSuspend`."""

    database: Database
    service: RunService
    wake: Callable[[], None]

    async def __call__(self, people: Collection[int]) -> None:
        phases = [phase.value for phase in ACTIVE]
        patient = (RunRow.stop == StopMode.CANCEL.value) & (RunRow.grace_s > _GRACE_S)
        goes_on = RunRow.stop.is_(None) | patient
        query = select(RunRow.key, RunRow.created_by).where(RunRow.phase.in_(phases), goes_on)
        async with self.database.read() as session:
            keys = [key for key, person in await session.execute(query) if person in people]
        for key in keys:
            await self._end(key)
        if keys:
            self.wake()

    async def _end(self, key: int) -> None:
        async with self.database.write() as session:
            scope = Scope(session)
            run = await store.by_key(scope, key)
            if run is None or run.phase.ended:
                return
            mode = StopMode.CANCEL if run.grace_s <= _GRACE_S else StopMode.KILL
            if run.stop in {mode, StopMode.KILL}:  # it is ending so, or sooner
                return
            store.note(scope, key, run.phase, REASON)
            await self.service.let_stop(scope, run, mode)
            entry = Entry(
                action="run.stop",
                thing=f"{run.kind.value}/{run.number}",
                name="",
                tenant=run.tenant_id,
                details=written({"mode": mode.value, "reason": REASON, "of": run.person}),
            )
            await append(session, entry)
