"""Turns of computing: many threads may wait for a directory, and one of them computes at a time."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class Turns:
    """Use as a context in a thread: it has the turn, and lets go of it while it waits.

    Only one thread of Python computes anyway, and its lock goes around every 5 ms: among many that compute at once the
    event loop would wait for each of them in between.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._mine = threading.local()

    def __enter__(self) -> None:
        self._turn.acquire()
        self._mine.has = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mine.has = False
        self._turn.release()

    def wait(self, work: Callable[[Given], Found], given: Given) -> Found:
        """Do what waits for others; the turn, if this thread has it, is somebody else's meanwhile."""
        if not getattr(self._mine, "has", False):
            return work(given)
        self._turn.release()
        try:
            return work(given)
        finally:
            self._turn.acquire()


# Of the process, as Python's lock is.
TURNS = Turns()
