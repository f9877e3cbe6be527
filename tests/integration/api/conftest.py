"""One service on the local engine for all tests of this folder; each test has people and tenants of its own."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.names import checked_name
from tests import database


@pytest.fixture(scope="session")
def state() -> Iterator[Path]:
    """A folder that the workloads' account may enter."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    folder.chmod(0o755)
    environment = folder / "environments" / "default" / "bin"
    environment.mkdir(parents=True)
    os.symlink("/usr/bin/python3", environment / "python")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def directory() -> MemoryDirectory:
    """Whom the service's directory knows."""
    return MemoryDirectory()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    state: Path, directory: MemoryDirectory, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    cards = {"gpus": [{"kind": "made-up", "indexes": [0, 1]}], "cpu": 8, "memory_gb": 8}
    settings = load(
        environ={},
        state=state,
        server={"port": free_port()},
        engine=cards,
        sources={"local_folders": [tmp_path_factory.getbasetemp(), state]},
        database=database.fresh(),
    )
    async with running(settings, directory=directory) as found:
        yield found
        ledger = state / "ledger"
        for name in [checked_name(folder.name) for folder in ledger.iterdir() if folder.is_dir()]:
            await found.backend.stop(name, grace_s=0)
