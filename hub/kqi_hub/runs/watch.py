"""Tell those who wait that a run has changed, at whichever replica they wait."""

import asyncio
from collections import defaultdict

from kqi_hub.background.signals import Signals
from kqi_hub.background.waiting import wait

_TOPIC = "run"


class Changes:
    """One event for each run somebody waits for here."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._events: dict[int, set[asyncio.Event]] = defaultdict(set)
        signals.on(_TOPIC, self._heard)

    def announce(self, key: int) -> None:
        self._signals.send(_TOPIC, str(key))

    async def wait(self, key: int, timeout_s: float) -> None:
        """Return when the run has changed, or at the time limit."""
        event = asyncio.Event()
        self._events[key].add(event)
        try:
            await wait(event, timeout_s)
        finally:
            waiting = self._events.get(key)
            if waiting is not None:
                waiting.discard(event)
                if not waiting:
                    self._events.pop(key, None)

    def _heard(self, about: str) -> None:
        for key in [int(about)] if about else list(self._events):
            for event in self._events.pop(key, ()):
                event.set()
