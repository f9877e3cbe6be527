"""Starts a workload and waits to be killed. Arguments: state, store, environments, isolation, uid, gid."""

import asyncio
import sys
from pathlib import Path

from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.names import checked_name
from kqi_spawner.workload import Resources, StorePath, Workload


async def main() -> None:
    state, store, environments, isolation, uid, gid = sys.argv[1:]
    settings = LocalSettings(
        state=Path(state),
        store=Path(store),
        environments=Path(environments),
        isolation=Isolation(isolation),
        run_as=(int(uid), int(gid)) if uid != "-" else None,
    )
    backend = await LocalBackend.opened(settings)
    text = "echo up; while ! [ -e go ]; do sleep 0.05; done; echo done; exit 7"
    await backend.start(
        Workload(
            name=checked_name("training-0"),
            command=("/bin/sh", "-c", text),
            image="",
            workdir=sys.stdin.readline().strip(),
            resources=Resources(cpu_milli=1000, memory_mib=256),
            log=StorePath("runs/training-0.log"),
        )
    )
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main())
