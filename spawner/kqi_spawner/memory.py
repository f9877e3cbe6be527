"""An engine in memory: obeys the same contract, runs nothing of the machine, and can be told what happens.

A command whose last word is in `programs` is run as that coroutine; any other runs until it is stopped or `end` called.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kqi_spawner.errors import BackendError, UnknownImage
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, Phase, Reason, WorkloadStatus
from kqi_spawner.workload import Workload

KILLED = 137
TERMINATED = 143


@dataclass(slots=True)
class Console:
    """What a program sees of its workload."""

    workload: Workload
    terminated: asyncio.Event = field(default_factory=asyncio.Event)  # set when it is asked to end
    _write: Callable[[bytes], None] = lambda data: None

    def write(self, data: bytes) -> None:
        """Append to the log."""
        self._write(data)


Program = Callable[[Console], Awaitable[int]]


class MemoryBackend:
    """Keeps everything in one object; belongs to one event loop. With `hold` workloads stay PENDING until `begin`."""

    def __init__(
        self,
        capacity: Capacity | None = None,
        *,
        programs: Mapping[str, Program] | None = None,
        images: Collection[str] | None = None,
        hold: bool = False,
    ) -> None:
        self._capacity = capacity or Capacity(cpu_milli=4000, memory_mib=8192)
        self._programs = dict(programs or {})
        self._images = images
        self._hold = hold
        self._entries: dict[WorkloadName, _Entry] = {}
        self._changed: dict[WorkloadName, None] = {}
        self._some_changed = asyncio.Event()

    async def start(self, workload: Workload) -> None:
        if workload.name in self._entries:
            return
        if self._images is not None and workload.image not in self._images:
            raise UnknownImage(
                f"no image {workload.image!r}; there are: {', '.join(sorted(self._images)) or 'none yet'}"
            )
        self._entries[workload.name] = _Entry(workload)
        if not self._hold:
            self.begin(workload.name)
        self._ring(workload.name)

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        absent = WorkloadStatus(phase=Phase.ABSENT)
        return {name: self._entries[name].status if name in self._entries else absent for name in names}

    async def stop(self, name: WorkloadName, *, grace_s: float) -> None:
        entry = self._entries.get(name)
        if entry is None or entry.over:
            return
        entry.stopping = True
        if entry.status.phase is Phase.PENDING:
            self._finish(entry, None)
            return
        entry.console.terminated.set()
        if grace_s <= 0:
            self._finish(entry, KILLED)
        else:
            entry.timers.append(asyncio.get_running_loop().call_later(grace_s, self._finish, entry, KILLED))

    async def forget(self, name: WorkloadName) -> None:
        """Raises `BackendError` for a workload that has not ended."""
        entry = self._entries.get(name)
        if entry is not None and not entry.over:
            raise BackendError(f"{name} has not ended ({entry.status.phase.value})")
        self._entries.pop(name, None)

    async def logs(self, name: WorkloadName, *, follow: bool) -> AsyncIterator[bytes]:
        entry = self._entries.get(name)
        position = 0
        while entry is not None:
            over, grown = entry.over, entry.grown
            if position < len(entry.log):
                chunk = bytes(entry.log[position:])
                position += len(chunk)
                yield chunk
            elif over or not follow:
                return
            else:
                await grown.wait()

    async def capacity(self) -> Capacity:
        return self._capacity

    async def changes(self) -> AsyncIterator[WorkloadName]:
        while True:
            while self._changed:
                name = next(iter(self._changed))
                del self._changed[name]
                yield name
            self._some_changed.clear()
            await self._some_changed.wait()

    async def address(self, name: WorkloadName, port: int) -> tuple[str, int]:
        return ("127.0.0.1", port)

    async def close(self) -> None:
        """End everything; the object is of no use afterwards."""
        for entry in self._entries.values():
            self._finish(entry, KILLED)
        await asyncio.gather(*(entry.task for entry in self._entries.values() if entry.task), return_exceptions=True)

    @property
    def workloads(self) -> dict[WorkloadName, Workload]:
        """Everything that was started and not forgotten."""
        return {name: entry.workload for name, entry in self._entries.items()}

    def begin(self, name: WorkloadName) -> None:
        """Let a held workload begin."""
        entry = self._entries[name]
        if entry.status.phase is not Phase.PENDING:
            return
        entry.status = WorkloadStatus(phase=Phase.RUNNING, started_at=datetime.now(UTC))
        entry.console = Console(entry.workload, _write=entry.write)
        program = self._programs.get(entry.workload.command[-1], _until_terminated)
        entry.task = asyncio.create_task(self._run(entry, program), name=f"memory-{name}")
        self._ring(name)

    def write(self, name: WorkloadName, data: bytes) -> None:
        """Append to the log of `name`."""
        self._entries[name].write(data)

    def end(self, name: WorkloadName, exit_code: int = 0, reason: Reason | None = None) -> None:
        """Let a workload end now."""
        entry = self._entries[name]
        self._finish(entry, exit_code)
        if reason is not None:
            entry.status = replace(entry.status, reason=reason)

    def lose(self, name: WorkloadName) -> None:
        """Let the engine lose sight of a running workload, as when the machine was restarted."""
        entry = self._entries[name]
        lost = WorkloadStatus(phase=Phase.LOST, started_at=entry.status.started_at, reason=Reason.LOST)
        self._settle(entry, lost)

    async def _run(self, entry: "_Entry", program: Program) -> None:
        self._finish(entry, await program(entry.console))

    def _finish(self, entry: "_Entry", exit_code: int | None) -> None:
        reason = Reason.STOPPED if entry.stopping else None
        ended = WorkloadStatus(
            phase=Phase.EXITED,
            started_at=entry.status.started_at,
            finished_at=datetime.now(UTC),
            exit_code=exit_code,
            reason=reason,
        )
        self._settle(entry, ended)

    def _settle(self, entry: "_Entry", status: WorkloadStatus) -> None:
        if entry.over:
            return
        entry.status = status
        for timer in entry.timers:
            timer.cancel()
        if entry.task is not None and entry.task is not asyncio.current_task():
            entry.task.cancel()
        entry.wake()
        self._ring(entry.workload.name)

    def _ring(self, name: WorkloadName) -> None:
        self._changed[name] = None
        self._some_changed.set()


class _Entry:
    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.status = WorkloadStatus(phase=Phase.PENDING)
        self.console = Console(workload)
        self.log = bytearray()
        self.grown = asyncio.Event()
        self.stopping = False
        self.task: asyncio.Task[None] | None = None
        self.timers: list[asyncio.TimerHandle] = []

    @property
    def over(self) -> bool:
        return self.status.phase in {Phase.EXITED, Phase.LOST}

    def write(self, data: bytes) -> None:
        if not self.over:
            self.log += data
            self.wake()

    def wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()


async def _until_terminated(console: Console) -> int:
    await console.terminated.wait()
    return TERMINATED
