"""A service that may ask servers of the tests, and these servers."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.names import checked_name
from tests import database
from tests.servers.git import GitServer
from tests.servers.https import HttpsServer
from tests.servers.smtp import SmtpServer

GIT_TOKEN = "canary-of-a-git-token-5d1e"
MAIL_PASSWORD = "canary-of-the-mail-password-77b0"


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that the workloads' account may enter."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-accounts-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def git_server(place: Path) -> Iterator[GitServer]:
    with GitServer(place / "git-server", "alice", GIT_TOKEN) as server:
        yield server


@pytest.fixture(scope="session")
def outside(git_server: GitServer, place: Path) -> Iterator[HttpsServer]:
    """A server for keys and webhooks, of the same authority."""
    with HttpsServer(place, git_server.authority) as server:
        yield server


@pytest.fixture(scope="session")
def mail_server(git_server: GitServer) -> Iterator[SmtpServer]:
    with SmtpServer(git_server.authority, "kqi", MAIL_PASSWORD) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    place: Path, git_server: GitServer, outside: HttpsServer, mail_server: SmtpServer
) -> AsyncIterator[Running]:
    state = place / "state"
    environment = state / "environments" / "default" / "bin"
    environment.mkdir(parents=True)
    os.symlink("/usr/bin/python3", environment / "python")
    password = place / "mail-password"
    password.touch(mode=0o600)
    password.write_text(MAIL_PASSWORD + "\n")
    smtp = {"host": "localhost", "port": mail_server.port, "user": "kqi", "password_file": password}
    settings = load(
        environ={},
        state=state,
        server={"port": free_port()},
        engine={"cpu": 8, "memory_gb": 8},
        outbound={
            "ca_file": git_server.authority.certificate,
            "private_networks": ["127.0.0.1/32", "::1/128"],
            "timeout_s": 5,
        },
        sources={"key_servers": [{"name": "own", "url": outside.url}]},
        smtp={**smtp, "sender": "kqi@example.org"},
        database=database.fresh(),
    )
    async with running(settings) as found:
        yield found
        for name in [checked_name(folder.name) for folder in (state / "ledger").iterdir() if folder.is_dir()]:
            await found.backend.stop(name, grace_s=0)
