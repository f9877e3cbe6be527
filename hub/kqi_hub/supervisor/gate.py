"""Children load what they run while the ground is still being laid, and begin when it is there."""

import asyncio
import os
import sys
from types import TracebackType
from typing import Self

from kqi_hub.settings import GATE, gate

_CHILDREN = 64  # more than ever wait


class Gate:
    """The supervisor's side: a pipe, in which a byte means "begin" and the end "there is nothing to begin"."""

    def __init__(self) -> None:
        self._waiting, self._opening = os.pipe()
        self._opened = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._waiting)
        os.close(self._opening)

    def open(self) -> None:
        os.write(self._opening, bytes(_CHILDREN))
        self._opened.set()

    async def passed(self) -> None:
        await self._opened.wait()

    def shown_to(self, environment: dict[str, str]) -> tuple[int, ...]:
        """Tell a child of the gate; return what it must inherit. Nothing once it is open."""
        if self._opened.is_set():
            return ()
        environment[GATE] = str(self._waiting)
        return (self._waiting,)


def wait_at_gate() -> None:
    """Return when it is open, at once where there is none; end the process if it is never going to be."""
    descriptor = gate()
    if descriptor is None:
        return
    with os.fdopen(descriptor, "rb", buffering=0) as waiting:
        if not waiting.read(1):
            sys.exit(0)
