"""Keep admission's picture of the engine true: nodes come and go, and limits are changed."""

from collections.abc import Callable
from dataclasses import dataclass

from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.runs.service import RunService
from kqi_spawner.backend import ExecutionBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    database: Database
    backend: ExecutionBackend
    service: RunService
    wake: Callable[[], None]

    async def one_pass(self) -> None:
        """Measure; what fits now and did not before leaves the queue."""
        admission = self.service.admission
        before, admission.capacity = admission.capacity, await self.backend.capacity()
        if admission.capacity == before:
            async with self.database.read() as session:
                if not await admission.waiting(Scope(session)):
                    return
        async with self.database.write() as session:
            started = await self.service.admit(Scope(session))
        if started:
            self.wake()
