"""The engine as the Spawners of one hub share it: opened once, its changes read once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from functools import cached_property

import aiohttp

from kqi_spawner.backend import AnnouncesChanges, ExecutionBackend
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase, WorkloadStatus

# An engine may announce nothing, and an announcement may be lost; also how often a stop is looked at again.
_LOOK_S = 1.0
ALIVE = frozenset({Phase.PENDING, Phase.RUNNING})


class SharedEngine:
    """Belongs to one event loop. A failed attempt to open the engine is tried again by the next who needs it."""

    def __init__(self, opening: Callable[[], Awaitable[ExecutionBackend]]) -> None:
        self._opening = opening
        self._lock = asyncio.Lock()
        self._backend: ExecutionBackend | None = None
        self._reader: asyncio.Task[None] | None = None
        self._bells: dict[WorkloadName, set[asyncio.Event]] = {}

    async def backend(self) -> ExecutionBackend:
        """Return the engine. Raises `BackendError`."""
        async with self._lock:
            if self._backend is None:
                self._backend = await self._opening()
                if isinstance(self._backend, AnnouncesChanges):
                    self._reader = asyncio.create_task(self._read(self._backend), name="kqi-spawner-changes")
            return self._backend

    @cached_property
    def http(self) -> aiohttp.ClientSession:
        """What the Spawners ask the api and their servers with; it keeps nothing that a server says."""
        return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0))

    async def status(self, name: WorkloadName) -> WorkloadStatus:
        return (await (await self.backend()).observe([name]))[name]

    async def left(self, name: WorkloadName, phases: Collection[Phase]) -> WorkloadStatus:
        """Wait until the workload is in none of `phases`; return its status. The caller bounds the time."""
        async with contextlib.aclosing(self.statuses(name)) as statuses:
            async for status in statuses:
                if status.phase not in phases:
                    return status
        raise AssertionError("statuses never end")

    async def statuses(self, name: WorkloadName) -> AsyncGenerator[WorkloadStatus, None]:
        """Yield its status now, whenever it may have changed, and once in a while; for ever."""
        with self._bell(name) as bell:
            while True:
                bell.clear()
                yield await self.status(name)
                # Not wait_for, which forgets a cancellation that comes together with the bell.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await bell.wait()

    async def _read(self, announcing: AnnouncesChanges) -> None:
        async for name in announcing.changes():
            for bell in self._bells.get(name, ()):
                bell.set()

    @contextlib.contextmanager
    def _bell(self, name: WorkloadName) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._bells.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._bells[name]
            waiting.discard(event)
            if not waiting:
                del self._bells[name]
