"""What a cluster takes for Jobs alone: made by the engine, with no platform before it."""

import asyncio
import time

from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.names import checked_name
from kqi_spawner.status import Phase
from kqi_spawner.workload import Resources, StorePath, Workload

_TOGETHER, _LOOK_S = 32, 0.25


async def fill(backend: KubernetesBackend, first: int, last: int) -> float:
    """Start runs `first` to `last` (exclusive) and return the seconds until all of them are at work."""
    names = [checked_name(f"run-{number}") for number in range(first, last)]
    gate = asyncio.Semaphore(_TOGETHER)

    async def start(name: str) -> None:
        async with gate:
            resources = Resources(cpu_milli=50, memory_mib=64)
            log = StorePath(f"runs/{name}.log")
            given = {"image": "default", "resources": resources, "workdir": "/", "log": log}
            await backend.start(Workload(name=checked_name(name), command=("/bin/true",), **given))

    begin = time.perf_counter()
    await asyncio.gather(*(start(name) for name in names))
    while any(seen.phase is not Phase.RUNNING for seen in (await backend.observe(names)).values()):
        await asyncio.sleep(_LOOK_S)
    return time.perf_counter() - begin
