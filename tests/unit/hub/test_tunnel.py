"""git goes only where its address, redirects, submodules and protocols may lead."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.errors import Invalid
from kqi_hub.outbound.addresses import Reach, networks
from kqi_hub.outbound.tunnel import Way
from kqi_hub.sources.git import Git
from kqi_hub.sources.local import LocalFolders

_OPEN, _CLOSED = "127.0.0.2", "127.0.0.3"
_WHO = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
_REDIRECTING = """
import http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/away/"):
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", sys.argv[2] + self.path.removeprefix("/away"))
        self.end_headers()
server = http.server.ThreadingHTTPServer((sys.argv[1], 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Site:
    """`closed` is where nobody may connect to; what does is in its queue."""

    folder: Path
    http: str
    daemon: str
    closed: socket.socket

    @property
    def behind(self) -> str:
        return f"{_CLOSED}:{self.closed.getsockname()[1]}"

    def untouched(self) -> bool:
        try:
            self.closed.accept()[0].close()
        except BlockingIOError:
            return True
        return False


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *_WHO, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(place: Path) -> str:
    place.mkdir(parents=True)
    git(place, "init", "--quiet", "--initial-branch=main")
    (place / "main.py").write_text("print(1)\n")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "one")
    git(place, "update-server-info")
    return git(place, "rev-parse", "HEAD")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as kept:
        closed = kept.enter_context(closing(socket.create_server((_CLOSED, 0))))
        closed.setblocking(False)
        behind = f"http://{_CLOSED}:{closed.getsockname()[1]}"
        words = [sys.executable, "-c", _REDIRECTING, _OPEN, behind]
        web = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        kept.callback(web.wait)
        kept.callback(web.kill)
        assert web.stdout
        http = f"http://{_OPEN}:{web.stdout.readline().strip()}"
        with closing(socket.create_server((_OPEN, 0))) as free:
            port = free.getsockname()[1]
        words = ["git", "daemon", "--export-all", f"--base-path={tmp_path}", f"--listen={_OPEN}", f"--port={port}"]
        daemon = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
        kept.callback(daemon.wait)
        kept.callback(os.killpg, daemon.pid, signal.SIGKILL)  # git has a child that is the daemon
        while True:
            try:
                socket.create_connection((_OPEN, port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Site(tmp_path, http, f"git://{_OPEN}:{port}", closed)


def asking(folder: Path, **proxies: str) -> Git:
    reach = Reach(networks(["127.0.0.0/8"]), networks([f"{_CLOSED}/32"]))
    way = Way(reach=reach, proxies=proxies)
    made = Git(home=folder / "home of git", timeout_s=30, local=LocalFolders(), way=way)
    made.prepare()
    return made


async def refused(git: Git, url: str) -> Invalid:
    with pytest.raises(Invalid) as error:
        await git.resolve(url, None, None)
    return error.value


async def test_what_may_be_asked_is_read_by_every_protocol(site: Site) -> None:
    commit = repository(site.folder / "code")
    asked = asking(site.folder)
    for number, url in enumerate((f"{site.http}/code/.git", f"{site.daemon}/code")):
        assert (await asked.resolve(url, None, None)).commit == commit
        target = site.folder / f"clone-{number}"
        await asked.clone(url, commit, target)
        assert (target / "main.py").read_text() == "print(1)\n"


async def test_what_may_not_is_never_connected_to(site: Site) -> None:
    asked = asking(site.folder)
    addresses = [f"{scheme}://{site.behind}/code" for scheme in ("http", "https", "git", "ssh")]
    mapped = f"http://[::ffff:{_CLOSED}]:{site.closed.getsockname()[1]}/code"
    for url in (*addresses, mapped, f"{site.http}/away/code", f"git@{_CLOSED}:code"):
        error = await refused(asked, url)
        assert error.code == "git_address_closed", (url, error.code, str(error))
        assert site.untouched(), url


async def test_a_submodule_leads_no_further(site: Site) -> None:
    repository(site.folder / "inner")
    outer = site.folder / "outer"
    repository(outer)
    git(outer, "submodule", "--quiet", "add", str(site.folder / "inner"), "inner")
    git(outer, "config", "-f", ".gitmodules", "submodule.inner.url", f"http://{site.behind}/inner")
    git(outer, "commit", "--quiet", "-am", "two")
    commit = git(outer, "rev-parse", "HEAD")
    with pytest.raises(Invalid) as error:
        await asking(site.folder).clone(f"{site.daemon}/outer", commit, site.folder / "clone")
    assert error.value.code == "git_address_closed" and site.untouched()


async def test_a_server_that_is_not_there_is_told_as_before(site: Site) -> None:
    with closing(socket.create_server((_OPEN, 0))) as free:
        port = free.getsockname()[1]
    nowhere = ("https://no.such.example.invalid/code", f"https://{'a' * 70}.example.invalid/code")
    for url in (f"http://{_OPEN}:{port}/code", f"git://{_OPEN}:{port}/code", *nowhere):
        assert (await refused(asking(site.folder), url)).code == "git_failed"


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A site's proxy that connects to where it is told, by names that it alone knows: address, what it was asked."""
    asked: list[str] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        _, target, _ = head.split(" ", 2)
        far_reader, far_writer = await asyncio.open_connection(_OPEN, int(target.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65_536):
                target.write(chunk)
            target.write_eof()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        yield f"http://me:se%40cret@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_behind_a_proxy_of_the_site_it_goes_by_that(site: Site, proxy: tuple[str, list[str]]) -> None:
    commit = repository(site.folder / "code")
    address, lines = proxy
    asked = asking(site.folder, https_proxy=address, no_proxy=_OPEN)
    port = site.http.rpartition(":")[2]
    assert (await asked.resolve(f"{site.http}/code/.git", None, None)).commit == commit
    assert not lines
    away = f"http://git.example.invalid:{port}/code/.git"
    assert (await asked.resolve(away, None, None)).commit == commit
    assert lines and lines[0].startswith(f"CONNECT git.example.invalid:{port} HTTP/1.1")
    assert "Proxy-Authorization: Basic bWU6c2VAY3JldA==" in lines[0]
    before = len(lines)
    assert (await refused(asked, f"http://{site.behind}/code")).code == "git_address_closed"
    assert len(lines) == before and site.untouched()
