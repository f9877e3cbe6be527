"""One service for all tests of this folder; each test has people and tenants of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running
from tests.integration.api.serving import new_state, serving


@pytest.fixture(scope="session")
def state() -> Iterator[Path]:
    with new_state() as folder:
        yield folder


@pytest.fixture(scope="session")
def directory() -> MemoryDirectory:
    """Whom the service's directory knows."""
    return MemoryDirectory()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    state: Path, directory: MemoryDirectory, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    async with serving(state, directory, tmp_path_factory.getbasetemp()) as found:
        yield found
