"""A sweep in the middle of a backup takes nothing that the backup is about to pack."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database
from tests.integration.api.caller import signed_in
from tests.integration.api.test_sweep import blob, sent_earlier, swept
from tests.platform import PROGRAM

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def stored() -> AsyncIterator[tuple[Running, dict[str, Any]]]:
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    section = database.fresh()
    settings = load(environ={}, state=state, server={"port": free_port()}, database=section)
    (state / "run").mkdir()
    async with running(settings, MemoryBackend()) as found:
        yield found, section
    shutil.rmtree(state)


def program(*words: object, section: dict[str, Any]) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, **database.variables(section)}
    return subprocess.Popen([PROGRAM, *map(str, words)], env=environment, stderr=subprocess.PIPE)


async def test_what_nobody_names_any_more_is_still_there_for_the_backup(
    stored: tuple[Running, dict[str, Any]], tmp_path: Path
) -> None:
    service, section = stored
    state, content = service.settings.state, os.urandom(50)
    async with await signed_in(service, "alice", "one") as alice:
        await alice.upload({"f": content})
    await sent_earlier(service, content, hours=30)
    # More than a pipe holds, and packed after the list of blobs was made but before the blobs are.
    (state / "config.d").mkdir()
    (state / "config.d" / "large").write_bytes(os.urandom(2**20))
    os.mkfifo(tmp_path / ".b.tar.gz.building")
    with program("backup", tmp_path / "b.tar.gz", "--store", "--state", state, section=section) as process:
        with (tmp_path / ".b.tar.gz.building").open("rb") as pipe:
            beginning = await asyncio.to_thread(pipe.read, 2**18)
            await swept(service)
            assert blob(service, content).exists()
            (tmp_path / "whole.tar.gz").write_bytes(beginning + await asyncio.to_thread(pipe.read))
        process.communicate()  # a pipe cannot be synced: it says so
    other = ("--state", tmp_path / "other")
    with program("restore", tmp_path / "whole.tar.gz", *other, section=database.empty()) as process:
        _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, said
    await swept(service)
    assert not blob(service, content).exists()
