"""The service of these tests: the real application on the local engine, in a folder of its own."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from kqi_hub.settings import load
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.names import checked_name
from tests import database


@contextmanager
def new_state() -> Iterator[Path]:
    """A folder that the workloads' account may enter."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    folder.chmod(0o755)
    environment = folder / "environments" / "default" / "bin"
    environment.mkdir(parents=True)
    os.symlink("/usr/bin/python3", environment / "python")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def serving(state: Path, directory: MemoryDirectory, repositories: Path) -> AsyncIterator[Running]:
    """Run it; `repositories` is a folder of the machine that git may read."""
    settings = load(
        environ={},
        state=state,
        server={"port": free_port()},
        engine={"gpus": [{"kind": "made-up", "indexes": [0, 1]}], "cpu": 8, "memory_gb": 8},
        sources={"local_folders": [repositories, state]},
        database=database.fresh(),
    )
    async with running(settings, directory=directory) as found:
        yield found
        for name in [checked_name(folder.name) for folder in (state / "ledger").iterdir() if folder.is_dir()]:
            await found.backend.stop(name, grace_s=0)
