"""`engine` is every engine, `local_engine` the local one, in every mode that works on this machine."""

import os
from collections.abc import AsyncIterator

import pytest

from kqi_spawner.local.accounts import ensure_account
from kqi_spawner.local.isolation import Isolation, account, works

from . import engines
from .engines import Engine

MODES = [pytest.param(mode, id=mode.value) for mode in Isolation]


async def _opened(isolation: Isolation) -> AsyncIterator[Engine]:
    run_as = ensure_account("kqi") if os.geteuid() == 0 else None
    if not await works(isolation, account(run_as)):
        pytest.skip(f"{isolation.value} does not work on this machine")
    async with engines.local(isolation) as engine:
        yield engine


@pytest.fixture(params=[pytest.param(None, id="memory"), *MODES])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    if request.param is None:
        async with engines.memory() as made:
            yield made
        return
    async for made in _opened(request.param):
        yield made


@pytest.fixture(params=MODES)
async def local_engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async for made in _opened(request.param):
        yield made
