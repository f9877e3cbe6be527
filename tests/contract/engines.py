"""The engines under test behind one small door."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kqi_spawner.backend import AnnouncesChanges
from kqi_spawner.local.accounts import ensure_account
from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.memory import MemoryBackend
from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import GpuKind, Phase, WorkloadStatus
from kqi_spawner.workload import Resources, StorePath, Workload

from .programs import Act, table

OVER = {Phase.EXITED, Phase.LOST}
PATIENCE_S = 60
HIDDEN = Path("/etc/hostname")  # a file that everybody may read stands for a secret that workloads may not see


@dataclass
class Engine:
    """An engine and what a test does with it again and again."""

    backend: Any
    reopen: Any = None  # makes a second object on the same state, as after a restart of the platform
    settings: LocalSettings | None = None
    long_grace_s: float = 3600  # that a shorter one overtakes
    store: Path = Path()
    give: Callable[[Path], None] = lambda place: None  # lets workloads write in a folder of the store
    patience_s: float = PATIENCE_S
    kind: str = "card"  # of its cards; empty: it has none
    port: int | None = None  # of its workloads, where they are servers
    counter: Any = field(default_factory=itertools.count)
    names: list[WorkloadName] = field(default_factory=list)

    def name(self) -> WorkloadName:
        name = checked_name(f"training-{next(self.counter)}")
        self.names.append(name)
        return name

    def workload(self, act: Act | str, **changes: Any) -> Workload:
        text = act if isinstance(act, str) else act.text
        name = changes.pop("name", None) or self.name()
        given = Workload(
            name=name,
            command=("/bin/sh", "-c", text),
            image="default",
            workdir="/",
            resources=Resources(cpu_milli=1000, memory_mib=512),
            log=StorePath(f"runs/{name}.log"),
            port=self.port,
        )
        return replace(given, **changes)

    async def run(self, act: Act | str, **changes: Any) -> WorkloadName:
        workload = self.workload(act, **changes)
        await self.backend.start(workload)
        return workload.name

    async def status(self, name: WorkloadName) -> WorkloadStatus:
        return (await self.backend.observe([name]))[name]

    async def until(self, name: WorkloadName, *phases: Phase) -> WorkloadStatus:
        """Wait by the announcements of the engine for one of the phases."""
        assert isinstance(self.backend, AnnouncesChanges)
        async with asyncio.timeout(self.patience_s):
            seen = await self.status(name)
            if seen.phase in phases:
                return seen
            changes = self.backend.changes()
            try:
                async for changed in changes:
                    if changed == name and (seen := await self.status(name)).phase in phases:
                        return seen
            finally:
                await changes.aclose()
        raise AssertionError(f"{name} never became {phases}: {seen}")

    async def ended(self, name: WorkloadName) -> WorkloadStatus:
        return await self.until(name, *OVER)

    async def output(self, name: WorkloadName) -> str:
        """Everything it writes, until it has ended."""
        async with asyncio.timeout(self.patience_s):
            return b"".join([chunk async for chunk in self.backend.logs(name, follow=True)]).decode()

    async def said(self, name: WorkloadName, text: str) -> None:
        """Wait until it has written `text`."""
        seen = b""
        async with asyncio.timeout(self.patience_s):
            async for chunk in self.backend.logs(name, follow=True):
                seen += chunk
                if text.encode() in seen:
                    return
        raise AssertionError(f"{name} ended without saying {text!r}: {seen!r}; {await self.status(name)}")

    async def close(self) -> None:
        for name in self.names:
            await self.backend.stop(name, grace_s=0)
        for name in self.names:
            with suppress(TimeoutError):
                if (await self.status(name)).phase is not Phase.ABSENT:
                    await self.ended(name)
        await self.backend.close()


@asynccontextmanager
async def memory() -> AsyncIterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="kqi-contract-") as store:
        backend = MemoryBackend(programs=table(Path(store)), images={"default"})

        async def same() -> MemoryBackend:
            return backend  # what it knows lives as long as it does

        engine = Engine(backend, reopen=same, store=Path(store))
        yield engine
        await engine.close()


async def _remove(base: Path) -> None:
    """Supervisors that came second are only just ending, and may have written a word."""
    for _ in range(50):
        with suppress(OSError):
            shutil.rmtree(base)
            return
        await asyncio.sleep(0.1)
    shutil.rmtree(base)


@asynccontextmanager
async def local(isolation: Isolation) -> AsyncIterator[Engine]:
    base = Path(tempfile.mkdtemp(prefix="kqi-contract-"))
    base.chmod(0o711)
    who = ensure_account("kqi") if os.geteuid() == 0 else None
    settings = LocalSettings(
        state=base / "state",
        store=base / "store",
        environments=base / "environments",
        run_as=who,
        isolation=isolation,
        gpus=(GpuKind(name="card", indexes=(0, 1)),),
        hidden=(HIDDEN,),
    )
    for folder in (settings.state, settings.store / "runs", settings.environments / "default" / "bin"):
        folder.mkdir(parents=True)
    (settings.environments / "default" / "bin" / "python").symlink_to("/usr/bin/python3")

    def give(place: Path) -> None:
        if who is not None:
            os.chown(place, *who)

    engine = Engine(await LocalBackend.opened(settings), settings=settings, store=settings.store, give=give)
    engine.reopen = lambda: LocalBackend.opened(settings)
    try:
        yield engine
    finally:
        await engine.close()
        await _remove(base)
