"""Behind a proxy of the site: git goes through it, and so may runs."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from tests.integration.api.caller import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def asked() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that knows nobody: its address, and the first line of each request."""
    lines: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readline()).decode().strip())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines


@pytest_asyncio.fixture(loop_scope="session")
async def behind(asked: tuple[str, list[str]]) -> AsyncIterator[Running]:
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    state.chmod(0o755)
    (state / "environments/default/bin").mkdir(parents=True)
    os.symlink("/usr/bin/python3", state / "environments/default/bin/python")
    # As people write it; libcurl reads only the other spelling.
    defaults = {
        "HTTP_PROXY": asked[0],
        "https_proxy": asked[0].replace("//", "//me:se%40cret@"),
        "NO_PROXY": "127.0.0.1",
    }
    async with running(load(environ={}, state=state, server={"port": free_port()}, defaults=defaults)) as found:
        yield found
    shutil.rmtree(state)


async def test_repositories_are_asked_through_it_and_runs_know_it(
    behind: Running, asked: tuple[str, list[str]]
) -> None:
    address, lines = asked
    async with await signed_in(behind, "alice", "one") as alice:
        source = {"kind": "git", "url": "http://git.example.invalid/team/code.git"}
        refused = await alice.post("/trainings", {"command": "x", "source": source}, 422)
        assert refused["code"] == "git_failed"
        assert lines and lines[0].startswith("GET http://git.example.invalid/team/code.git/info/refs")
        run = await alice.train("echo $http_proxy $HTTP_PROXY $no_proxy", environment={"HTTP_PROXY": "mine"})
        await alice.ended(run["id"])
        assert await alice.log(run["id"]) == f"{address} mine 127.0.0.1\n"


async def test_webhooks_go_through_it_but_never_to_the_inside(behind: Running, asked: tuple[str, list[str]]) -> None:
    _, lines = asked
    async with await signed_in(behind, "alice", "one") as alice:
        target = {"kind": "webhook", "name": "x", "address": "https://hooks.example.invalid/secret"}
        made = (await alice.post("/notifications", target))["target"]["id"]
        refused = await alice.post(f"/notifications/{made}/test", {}, 422)
        assert refused["code"] == "outbound_failed" and "proxy" in refused["detail"], refused
        assert lines[-1] == "CONNECT hooks.example.invalid:443 HTTP/1.1"
        before = len(lines)
        for host in ("127.0.0.2", "2130706434", "localhost", "169.254.169.254"):
            made = (await alice.post("/notifications", {**target, "address": f"https://{host}/"}))["target"]["id"]
            refused = await alice.post(f"/notifications/{made}/test", {}, 422)
            assert "open internet" in refused["detail"], (host, refused)
        assert len(lines) == before
