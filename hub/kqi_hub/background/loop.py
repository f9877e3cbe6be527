"""A loop that does a pass when it is woken, and once in a while in case a wake-up was missed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from kqi_hub.errors import KqiError

log = logging.getLogger(__name__)


class Loop:
    """`wake` may be called from the event loop at any time; wake-ups during a pass cause one more pass.

    A pass that fails is logged and tried again after a pause that doubles up to `every_s` seconds.
    """

    def __init__(self, name: str, one_pass: Callable[[], Awaitable[None]], *, every_s: float) -> None:
        self._name = name
        self._one_pass = one_pass
        self._every_s = every_s
        self._wanted = asyncio.Event()
        self._wanted.set()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        pause = 0.1
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._every_s)
            self._wanted.clear()
            try:
                await self._one_pass()
                pause = 0.1
            # The loop must outlive whatever a pass meets: a disk that is full for an hour, a database that is locked.
            except (KqiError, OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
                log.error("pass failed", extra={"loop": self._name}, exc_info=error)
                await asyncio.sleep(min(pause, self._every_s))
                pause *= 2
                self._wanted.set()
