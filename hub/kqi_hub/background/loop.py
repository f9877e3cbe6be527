"""A loop that does a pass when it is woken, and once in a while in case a wake-up was missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from kqi_hub.background.signals import Signals
from kqi_hub.background.waiting import wait
from kqi_hub.errors import KqiError
from kqi_spawner.errors import BackendError

log = logging.getLogger(__name__)
# A loop must outlive whatever a pass meets: a disk that is full for an hour, a database that is locked.
_FAULTS = (KqiError, BackendError, OSError, RuntimeError, ValueError, LookupError, TypeError)


async def each(parts: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all parts of a pass; one that fails keeps none of the others waiting. Raises the first fault at the end."""
    faults: list[Exception] = []
    for part in parts:
        try:
            await part()
        except _FAULTS as error:
            log.warning("part of a pass failed", exc_info=error)
            faults.append(error)
    if faults:
        raise faults[0]


class Loop:
    """It runs in the process that holds the lease, and is woken from any; both from their event loops.

    Wake-ups during a pass cause one more pass. A pass that fails is logged and tried again after a pause that doubles
    up to `every_s` seconds. `may` is asked before each pass.
    """

    def __init__(
        self,
        name: str,
        one_pass: Callable[[], Awaitable[None]],
        *,
        every_s: float,
        signals: Signals,
        may: Callable[[], bool],
    ) -> None:
        self._name = name
        self._one_pass = one_pass
        self._every_s = every_s
        self._signals = signals
        self._may = may
        self._wanted = asyncio.Event()
        signals.on(name, lambda _about: self._wanted.set())

    def wake(self) -> None:
        """Wake it wherever it runs."""
        self._signals.send(self._name)

    def wake_here(self) -> None:
        """The same, for those who run beside it."""
        self._wanted.set()

    async def run(self) -> None:
        """Begin with a pass, and go on until cancelled."""
        self._wanted.set()
        pause = 0.1
        while True:
            await wait(self._wanted, self._every_s)
            self._wanted.clear()
            if not self._may():
                continue
            try:
                await self._one_pass()
                pause = 0.1
            except _FAULTS as error:
                log.error("pass failed", extra={"loop": self._name}, exc_info=error)
                await asyncio.sleep(min(pause, self._every_s))
                pause *= 2
                self._wanted.set()
