"""Learns of starts and ends without asking again and again: process descriptors and inotify."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import Popen

from asyncinotify import Inotify, Mask, Watch

from kqi_spawner.local import ledger
from kqi_spawner.names import WorkloadName, checked_name

# Where inotify is missing (its instances are limited per user), and on network folders that have none of it.
FALLBACK_S = 1.0
# What appears in a ledger folder when the status changes.
_TELLING = {"started", "exit"}


class Watcher:
    """Rings when a workload's status may have changed. Belongs to one event loop; `open` before, `close` after use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inotify: Inotify | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: dict[WorkloadName, int] = {}
        self._processes: dict[WorkloadName, Popen[bytes]] = {}
        self._bells: dict[WorkloadName | Path, set[asyncio.Event]] = {}
        self._file_watches: dict[Path, Watch] = {}
        self._changed: dict[WorkloadName, None] = {}
        self._some_changed = asyncio.Event()

    async def open(self) -> None:
        """Begin to watch, also what earlier processes of the platform started. Idempotent."""
        if self._tasks:
            return
        try:
            self._inotify = Inotify()
            self._inotify.add_watch(self._folder, Mask.MOVED_TO | Mask.CREATE | Mask.ONLYDIR)
        except OSError:
            self._inotify = None
        reader = self._read() if self._inotify is not None else self._look_again()
        self._tasks.append(asyncio.create_task(reader, name="kqi-local-watch"))
        for name in await asyncio.to_thread(lambda: list(ledger.names(self._folder))):
            self.attach(name)
            self.ring(name)

    async def close(self) -> None:
        """Stop watching. Workloads go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for name in list(self._ends):
            self._detach(name)
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def attach(self, name: WorkloadName, process: Popen[bytes] | None = None) -> None:
        """Ring `name` when its supervisor ends and when it begins the user's command."""
        if self._inotify is not None:
            with contextlib.suppress(OSError):
                self._inotify.add_watch(self._folder / name, Mask.MOVED_TO | Mask.CREATE | Mask.ONLYDIR)
        if process is not None:
            self._follow_end(name, os.pidfd_open(process.pid), process)
        elif name not in self._ends:
            fd = ledger.supervisor(self._folder / name)
            if fd is not None:
                self._follow_end(name, fd, None)

    def ring(self, name: WorkloadName) -> None:
        """Say that the status of `name` may have changed."""
        self._changed[name] = None
        self._some_changed.set()
        self._ring(name)

    async def changes(self) -> AsyncIterator[WorkloadName]:
        """Yield names whose status may have changed, also what changed before somebody read."""
        while True:
            while self._changed:
                name = next(iter(self._changed))
                del self._changed[name]
                yield name
            self._some_changed.clear()
            await self._some_changed.wait()

    @contextlib.contextmanager
    def bell(self, name: WorkloadName, file: Path) -> Iterator[asyncio.Event]:
        """Give an event that is set when `name` may have changed or `file` has grown."""
        event = asyncio.Event()
        for key in (name, file):
            self._bells.setdefault(key, set()).add(event)
        if self._inotify is not None and file not in self._file_watches:
            with contextlib.suppress(OSError):
                self._file_watches[file] = self._inotify.add_watch(file, Mask.MODIFY)
        try:
            yield event
        finally:
            self._unhang(name, file, event)

    def _unhang(self, name: WorkloadName, file: Path, event: asyncio.Event) -> None:
        for key in (name, file):
            waiting = self._bells.get(key, set())
            waiting.discard(event)
            if not waiting:
                self._bells.pop(key, None)
        watch = self._file_watches.pop(file, None) if file not in self._bells else None
        if watch is not None and self._inotify is not None:
            with contextlib.suppress(OSError):
                self._inotify.rm_watch(watch)

    def _ring(self, key: WorkloadName | Path) -> None:
        for event in self._bells.get(key, ()):
            event.set()

    async def _read(self) -> None:
        assert self._inotify is not None  # noqa: S101
        async for event in self._inotify:
            if event.watch is None:
                # The queue overflowed: anything may have happened.
                for name in list(self._ends):
                    self.ring(name)
            elif event.mask & Mask.MODIFY:
                self._ring(event.watch.path)
            elif event.watch.path == self._folder and event.name is not None:
                self._found(str(event.name))
            elif event.watch.path.parent == self._folder and str(event.name) in _TELLING:
                self._found(event.watch.path.name)

    def _found(self, text: str) -> None:
        with contextlib.suppress(ValueError):
            name = checked_name(text)
            self.attach(name)
            self.ring(name)

    async def _look_again(self) -> None:
        known: set[WorkloadName] = set()
        while True:
            await asyncio.sleep(FALLBACK_S)
            present = set(await asyncio.to_thread(lambda: list(ledger.names(self._folder))))
            for name in present - known:
                self.attach(name)
            for name in (present - known) | set(self._ends):
                self.ring(name)
            known = present

    def _follow_end(self, name: WorkloadName, fd: int, process: Popen[bytes] | None) -> None:
        if name in self._ends:
            self._detach(name)
        self._ends[name] = fd
        if process is not None:
            self._processes[name] = process
        asyncio.get_running_loop().add_reader(fd, self._ended, name)

    def _ended(self, name: WorkloadName) -> None:
        self._detach(name)
        self.ring(name)

    def _detach(self, name: WorkloadName) -> None:
        fd = self._ends.pop(name)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        process = self._processes.pop(name, None)
        if process is not None:
            # Reaps it if it has ended. If not, it is the init process's to reap after us.
            process.poll()
            process.returncode = process.returncode or 0
