"""Tell those who wait that a run has changed."""

import asyncio
import contextlib
from collections import defaultdict


class Changes:
    """One event for each run somebody waits for; within this process."""

    def __init__(self) -> None:
        self._events: dict[int, set[asyncio.Event]] = defaultdict(set)

    def announce(self, key: int) -> None:
        for event in self._events.pop(key, ()):
            event.set()

    async def wait(self, key: int, timeout_s: float) -> None:
        """Return when the run has changed, or at the time limit."""
        event = asyncio.Event()
        self._events[key].add(event)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), timeout_s)
        finally:
            waiting = self._events.get(key)
            if waiting is not None:
                waiting.discard(event)
                if not waiting:
                    self._events.pop(key, None)
