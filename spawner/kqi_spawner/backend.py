"""The seam between the hub and an engine. Implementations: local, Kubernetes, in-memory for tests."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol, runtime_checkable

from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, WorkloadStatus
from kqi_spawner.workload import Workload


class ExecutionBackend(Protocol):
    """Runs workloads; every method may be called again after a crash at any point.

    A name is used for one workload only: once it has begun it never begins again, also after `stop`.
    """

    async def start(self, workload: Workload) -> None:
        """Begin it and return at once. Idempotent by name. Raises `CannotStart` for what another try will not mend."""

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        """Return the status of each name; an unknown one is ABSENT.

        With `anew` it is asked for instead of taken from what was heard: raises `BackendError` where nobody answers.
        """

    async def stop(self, name: WorkloadName, *, grace_s: float) -> None:
        """Ask it to end (SIGTERM), end it after `grace_s` seconds (0: now). Idempotent; unknown names are fine.

        A shorter grace overtakes a longer one, unless the engine can only let run out what it has begun.
        """

    async def forget(self, name: WorkloadName) -> None:
        """Drop what the engine keeps of an ended workload; its store folders stay. Idempotent."""

    def logs(self, name: WorkloadName, *, follow: bool) -> AsyncIterator[bytes]:
        """Yield its output from the first byte; with `follow` until it has ended and all was yielded."""

    async def capacity(self) -> Capacity:
        """Return what can be given out in all."""


@runtime_checkable
class AnnouncesChanges(Protocol):
    """Ability: says which workloads to look at again, so that nobody polls."""

    def changes(self) -> AsyncIterator[WorkloadName]:
        """Yield a name whenever its status may have changed; may yield too often, never too seldom. One reader."""


@runtime_checkable
class OpensPorts(Protocol):
    """Ability: a port that a workload listens on can be reached."""

    async def address(self, name: WorkloadName, port: int) -> tuple[str, int]:
        """Return host and port under which the platform reaches `port` of the workload."""
