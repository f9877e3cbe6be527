"""Yields a growing file until its workload has ended."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from kqi_spawner import logfile
from kqi_spawner.local import ledger
from kqi_spawner.local.watch import FALLBACK_S, Watcher
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase

_OVER = {Phase.EXITED, Phase.LOST, Phase.ABSENT}


async def written(file: Path, start: int = 0) -> AsyncIterator[bytes]:
    """Yield what is in the file from `start` to its end; nothing if it is missing."""
    position = start
    while chunk := await asyncio.to_thread(logfile.read, file, position):
        position += len(chunk)
        yield chunk


async def followed(file: Path, folder: Path, watcher: Watcher) -> AsyncIterator[bytes]:
    """Yield the file as it grows, until the workload of the ledger `folder` has ended and all was yielded."""
    position = 0
    with watcher.bell(WorkloadName(folder.name), file) as bell:
        over = False
        while not over:
            bell.clear()
            # First the status, then the rest of the file: what was written before the end is never missed.
            over = (await asyncio.to_thread(ledger.status, folder)).phase in _OVER
            async for chunk in written(file, position):
                position += len(chunk)
                yield chunk
            if not over:
                await _rung(bell)


async def _rung(bell: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(bell.wait(), FALLBACK_S)
    except TimeoutError:
        return
