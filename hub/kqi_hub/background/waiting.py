"""Waiting for what may not come."""

import asyncio
import contextlib


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or at the time limit."""
    # Python 3.11's `wait_for` swallows a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
