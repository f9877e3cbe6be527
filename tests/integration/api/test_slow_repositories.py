"""A repository that takes its time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A git server that never answers: its address, and whether somebody has come."""
    came = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        while await reader.read(100):
            pass
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"git://127.0.0.1:{server.sockets[0].getsockname()[1]}/code.git", came


@pytest.mark.timeout(50)
async def test_a_run_is_stopped_while_its_commit_is_fetched(alice: Caller, silent: tuple[str, asyncio.Event]) -> None:
    address, came = silent
    run = await alice.train("true", source={"kind": "git", "url": address, "commit": "0" * 40})
    await came.wait()
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "cancel"}, 200)
    ended = await alice.ended(run["id"])
    assert (ended["phase"], ended["reason"]) == ("canceled", "stopped")
