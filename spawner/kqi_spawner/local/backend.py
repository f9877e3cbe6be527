"""The local engine behind the seam: workloads are processes of this machine that outlive the platform."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Self

from kqi_spawner.errors import BackendError, CannotStart
from kqi_spawner.local import gpus, images, ledger, leftovers, limits, logs
from kqi_spawner.local.isolation import TOOL_PATH, Isolation, account, probed, works
from kqi_spawner.local.plan import SHIM
from kqi_spawner.local.prepare import Engine, prepare, remove_stale
from kqi_spawner.local.watch import Watcher
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, GpuKind, Phase, WorkloadStatus
from kqi_spawner.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """Where the engine keeps things and what it gives out. The account of `run_as` must be able to enter both."""

    state: Path
    store: Path
    environments: Path
    run_as: tuple[int, int] | None = None  # uid and gid; needed where the platform is root
    isolation: Isolation | None = None  # None: the strongest that works here
    tools: Path | None = None  # what workloads find at /kqi/tools, below `environments`
    hidden: tuple[Path, ...] = ()  # further folders and files that no workload may see: settings with secrets
    volumes: Mapping[str, Path] = field(default_factory=dict)  # folders of the machine that mounts may name
    fallback_image: str | None = None  # the environment that stands in for an image that is not known
    gpus: tuple[GpuKind, ...] | None = None  # None: ask the driver
    cpu_milli: int | None = None  # None: all processors
    memory_mib: int | None = None  # None: all but a reserve for the system


class LocalBackend:
    """Runs workloads on this machine. Made by `opened`; one object per event loop, `close` ends none of the work."""

    def __init__(self, settings: LocalSettings, isolation: Isolation, groups: limits.Groups) -> None:
        self._settings = settings
        self.engine = Engine(
            state=settings.state.absolute(),
            store=settings.store.absolute(),
            isolation=isolation,
            account=account(settings.run_as),
            groups=groups,
            environments=settings.environments.absolute(),
            tools=settings.tools.absolute() if settings.tools else None,
            hidden=tuple(path.absolute() for path in settings.hidden),
            volumes={name: path.absolute() for name, path in settings.volumes.items()},
        )
        self.engine.ledger.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watcher = Watcher(self.engine.ledger)
        self._starting: dict[WorkloadName, asyncio.Lock] = {}
        self._swept: set[WorkloadName] = set()

    @classmethod
    async def opened(cls, settings: LocalSettings) -> Self:
        """Return the engine after trying what this machine allows. Raises `CannotStart` if no isolation works."""
        isolation = settings.isolation or await probed(settings.run_as)
        if not await works(isolation, account(settings.run_as)):
            raise CannotStart(f"isolation {isolation.value!r} does not work on this machine for this account")
        groups = await asyncio.to_thread(limits.find_groups)
        backend = cls(settings, isolation, groups)
        await asyncio.to_thread(remove_stale, backend.engine.state)
        await backend._watcher.open()
        return backend

    @property
    def isolation(self) -> Isolation:
        return self.engine.isolation

    async def close(self) -> None:
        """Stop watching. Workloads go on and are found again by the next object on the same state."""
        await self._watcher.close()

    async def start(self, workload: Workload) -> None:
        async with self._starting.setdefault(workload.name, asyncio.Lock()):
            process = await asyncio.to_thread(self._start, workload)
            if process is not None:
                self._watcher.attach(workload.name, process)
        self._watcher.ring(workload.name)

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        return await asyncio.to_thread(lambda: {name: self._observe(name) for name in names})

    async def stop(self, name: WorkloadName, *, grace_s: float) -> None:
        async with self._starting.setdefault(name, asyncio.Lock()):
            process = await asyncio.to_thread(self._stop, name, grace_s)
            if process is not None:
                self._watcher.attach(name, process)
        self._watcher.ring(name)

    async def forget(self, name: WorkloadName) -> None:
        """Raises `BackendError` for a workload that has not ended."""
        await asyncio.to_thread(self._forget, name)
        self._starting.pop(name, None)
        self._swept.discard(name)

    async def logs(self, name: WorkloadName, *, follow: bool) -> AsyncIterator[bytes]:
        folder = self._folder(name)
        known = await asyncio.to_thread(ledger.facts, folder)
        if known is None:
            return
        log = Path(known.log)
        chunks = logs.followed(log, folder, self._watcher) if follow else logs.written(log)
        async for chunk in chunks:
            yield chunk

    async def capacity(self) -> Capacity:
        chosen = self._settings
        cards = chosen.gpus if chosen.gpus is not None else await asyncio.to_thread(gpus.inventory)
        return Capacity(
            cpu_milli=chosen.cpu_milli or limits.machine_cpu_milli(),
            memory_mib=chosen.memory_mib or limits.machine_memory_mib(),
            gpus=cards,
        )

    def changes(self) -> AsyncIterator[WorkloadName]:
        return self._watcher.changes()

    async def address(self, name: WorkloadName, port: int) -> tuple[str, int]:
        """Every workload listens on this machine itself."""
        return ("127.0.0.1", port)

    def _folder(self, name: WorkloadName) -> Path:
        return self.engine.ledger / name

    def _start(self, workload: Workload) -> Popen[bytes] | None:
        folder = self._folder(workload.name)
        try:
            seen = ledger.status(folder)
            if seen.phase is Phase.ABSENT:
                image = images.resolve(workload.image, self.engine.environments, fallback=self._settings.fallback_image)
                prepare(self.engine, workload, image)
            elif seen.phase is not Phase.PENDING or ledger.held(folder):
                return None
            return _supervised(folder)
        except OSError as cause:
            raise BackendError(f"{workload.name}: {cause}") from cause

    def _observe(self, name: WorkloadName) -> WorkloadStatus:
        folder = self._folder(name)
        seen = ledger.status(folder)
        if seen.phase is Phase.LOST and name not in self._swept:
            self._sweep(folder)
            self._swept.add(name)
        return seen

    def _stop(self, name: WorkloadName, grace_s: float) -> Popen[bytes] | None:
        folder = self._folder(name)
        seen = ledger.status(folder)
        if seen.phase in {Phase.ABSENT, Phase.EXITED}:
            return None
        if seen.phase is Phase.LOST:
            self._sweep(folder)
            return None
        try:
            ledger.ask_stop(folder, grace_s)
            fd = ledger.supervisor(folder)
            if fd is None:
                # Nothing has begun. A supervisor looks for the request before it begins anything, and records the end.
                return _supervised(folder)
        except OSError as cause:
            if not folder.is_dir():
                return None  # it has ended meanwhile, and was forgotten
            raise BackendError(f"{name}: {cause}") from cause
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGUSR1)
        finally:
            os.close(fd)
        return None

    def _sweep(self, folder: Path) -> None:
        known = ledger.facts(folder)
        if known is not None:
            leftovers.sweep(known)
            (folder / "script").unlink(missing_ok=True)

    def _forget(self, name: WorkloadName) -> None:
        folder = self._folder(name)
        seen = ledger.status(folder)
        if seen.phase is Phase.ABSENT:
            return
        if seen.phase not in {Phase.EXITED, Phase.LOST}:
            raise BackendError(f"{name} has not ended ({seen.phase.value})")
        self._sweep(folder)
        ledger.remove(folder)


def _supervised(folder: Path) -> Popen[bytes]:
    """Start a supervisor for the ledger folder. Of several one goes on; a begun or ended workload is left alone."""
    return Popen(
        ["/bin/sh", str(SHIM)],
        cwd=folder,
        env={"PATH": TOOL_PATH},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
