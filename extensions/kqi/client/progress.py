"""How far a transfer is, counted over threads."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    files: int
    files_total: int
    bytes: int
    bytes_total: int


Report = Callable[[Progress], None]


class Meter:
    """Counts what has arrived and tells a listener; the listener is called by one thread at a time."""

    def __init__(self, files: int, size: int, report: Report | None) -> None:
        self._now = Progress(files=0, files_total=files, bytes=0, bytes_total=size)
        self._report = report
        self._lock = Lock()
        self.add()

    def add(self, *, files: int = 0, size: int = 0) -> None:
        with self._lock:
            now = self._now
            self._now = Progress(
                files=now.files + files,
                files_total=now.files_total,
                bytes=now.bytes + size,
                bytes_total=now.bytes_total,
            )
            if self._report:
                self._report(self._now)
