"""One process that follows a namespace: `python -m bench.watching ours|theirs GIVEN`.

It says `ready`, then for every pod that it is named when it knew of its death, in seconds of the machine's monotonic
clock.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from bench.burst import Given
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase

_LOOK_S = 0.005
Died = Callable[[str], Awaitable[None]]


async def _ours(given: Given) -> Died:
    backend = await KubernetesBackend.opened(given.engine())

    async def died(pod: str) -> None:
        name = WorkloadName(pod.rsplit("-", 1)[0])
        while (await backend.observe([name]))[name].phase is Phase.RUNNING:
            await asyncio.sleep(_LOOK_S)

    return died


async def _theirs(given: Given) -> Died:
    """Start the reflectors as a KubeSpawner does for its pods."""
    from kubespawner.clients import load_config
    from kubespawner.spawner import EventReflector, PodReflector

    load_config()
    pods = PodReflector(namespace=given.namespace, labels={"component": "singleuser-server"}, on_failure=sys.exit)
    events = EventReflector(namespace=given.namespace, fields={"involvedObject.kind": "Pod"}, on_failure=sys.exit)
    await asyncio.gather(pods.start(), events.start())

    async def died(pod: str) -> None:
        while pods.pods[f"{given.namespace}/{pod}"]["status"]["phase"] == "Running":
            await asyncio.sleep(_LOOK_S)

    return died


async def main(side: str, given: Given) -> None:
    died = await (_ours(given) if side == "ours" else _theirs(given))
    print("ready", flush=True)
    while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
        await died(name)
        print(time.monotonic(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Given(**json.loads(sys.argv[2]))))
