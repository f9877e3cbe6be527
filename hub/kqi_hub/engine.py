"""The engine that the settings name: the only place of the hub that knows a concrete backend."""

import os

from kqi_hub.settings import Settings
from kqi_spawner.local.accounts import ensure_account
from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.status import GpuKind


async def open_backend(settings: Settings) -> LocalBackend:
    """Return the engine that the settings name; used by the api and by the hub's Spawner class alike."""
    engine = settings.engine
    gpus = None
    if engine.gpus is not None:
        gpus = tuple(GpuKind(name=c.kind, indexes=tuple(c.indexes), memory_mib=c.memory_mib) for c in engine.gpus)
    return await LocalBackend.opened(
        LocalSettings(
            state=settings.state,
            store=settings.store,
            environments=settings.environments,
            tools=settings.tools,
            run_as=owner(settings),
            isolation=None if engine.isolation == "auto" else Isolation(engine.isolation),
            fallback_image=engine.fallback_image,
            gpus=gpus,
            cpu_milli=int(engine.cpu * 1000) if engine.cpu else None,
            memory_mib=int(engine.memory_gb * 1024) if engine.memory_gb else None,
        )
    )


def owner(settings: Settings) -> tuple[int, int] | None:
    """Return the account of the workloads where the platform runs as root, made if missing."""
    return ensure_account(settings.engine.run_as) if os.geteuid() == 0 else None
