"""The work of people, as the platform sees it when it comes to an end."""

import asyncio

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings
from kqi_spawner.local.backend import LocalBackend
from kqi_spawner.local.ledger import names as ledger_names
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase

GRACE_S = 10.0
_PATIENCE_S = 3 * GRACE_S


async def running_work(backend: LocalBackend, settings: Settings) -> list[WorkloadName]:
    seen = await backend.observe(list(ledger_names(settings.state / "ledger")))
    return [name for name, status in seen.items() if status.phase in {Phase.RUNNING, Phase.PENDING}]


async def stop_work(backend: LocalBackend, settings: Settings) -> list[WorkloadName]:
    """Stop everything that runs, with grace, and return the names. The platform must be down: it would start more."""
    names = await running_work(backend, settings)
    for name in names:
        await backend.stop(name, grace_s=GRACE_S)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while await running_work(backend, settings):  # noqa: ASYNC110 - a change may have come before we listen
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        left = ", ".join(await running_work(backend, settings))
        raise ConfigError("work_not_stopped", names=left) from error
    return names
