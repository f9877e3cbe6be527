"""People at the API of whichever service a folder's tests run."""

import itertools
from collections.abc import AsyncIterator

import pytest_asyncio

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, signed_in

_numbers = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(service: Running) -> AsyncIterator[Caller]:
    """A person in a tenant of this test alone."""
    number = next(_numbers)
    async with await signed_in(service, f"alice{number}", f"tenant{number}") as caller:
        yield caller


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(service: Running) -> AsyncIterator[Caller]:
    """A person of another tenant."""
    number = next(_numbers)
    async with await signed_in(service, f"mallory{number}", f"elsewhere{number}") as caller:
        yield caller
