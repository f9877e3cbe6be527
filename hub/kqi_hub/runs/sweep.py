"""End and forget what a crash after the end of a run left in the engine; and what sweeps below must keep."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select

from kqi_hub.db.engine import Database
from kqi_hub.db.json import member
from kqi_hub.db.scope import Scope
from kqi_hub.runs.model import ACTIVE, ENDED, Kind, workload_of
from kqi_hub.runs.rows import RunRow
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.errors import BackendError
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase as Seen
from kqi_spawner.status import WorkloadStatus

log = logging.getLogger(__name__)
_AT_ONCE = 1000
_ENDED = [phase.value for phase in ENDED]
_ACTIVE = [phase.value for phase in ACTIVE]


@dataclass(slots=True, kw_only=True)
class LedgerSweep:
    database: Database
    backend: ExecutionBackend

    async def one_pass(self) -> None:
        """No attempt that is over begins again, so its name may be forgotten at any time."""
        names = await self._over()
        for start in range(0, len(names), _AT_ONCE):
            seen = await self.backend.observe(names[start : start + _AT_ONCE])
            for name, status in seen.items():
                if status.phase is not Seen.ABSENT:
                    await self._clear(name, status)

    async def _over(self) -> list[WorkloadName]:
        columns = select(RunRow.kind, RunRow.number, RunRow.attempt, RunRow.phase)
        async with self.database.read() as session:
            query = columns.where(or_(RunRow.phase.in_(_ENDED), RunRow.attempt > 1))
            rows = (await Scope(session).execute(query)).all()
        return [
            workload_of(Kind(kind), number, attempt)
            for kind, number, last, phase in rows
            for attempt in range(1, last + (phase in _ENDED))
        ]

    async def _clear(self, name: WorkloadName, status: WorkloadStatus) -> None:
        """Forget it; one that is alive, such as a server that the hub started too late, is ended first."""
        try:
            if status.phase in {Seen.EXITED, Seen.LOST}:
                await self.backend.forget(name)
            else:
                log.warning("a workload of a run that has ended is alive and is stopped", extra={"run": name})
                await self.backend.stop(name, grace_s=0)
        except BackendError as error:
            log.warning("not cleared, will be tried again", extra={"run": name}, exc_info=error)


async def archives(scope: Scope, hashes: Sequence[str]) -> set[str]:
    """Return those of the contents that are the packed code of a run, from which it can be copied."""
    sha256 = member(RunRow.source, "sha256")
    return set(await scope.all(select(sha256).where(sha256.in_(hashes)).distinct()))


async def trees_at_work(scope: Scope) -> set[tuple[int, int]]:
    """Return the (dataset, version) that runs which have not ended use."""
    query = select(RunRow.dataset_id, RunRow.version).where(RunRow.phase.in_(_ACTIVE), RunRow.dataset_id.is_not(None))
    return {(dataset, version) for dataset, version in (await scope.execute(query)).all()}
