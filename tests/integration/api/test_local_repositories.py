"""Repositories that are folders of this machine: those that were given, and never what the platform keeps."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.testing.service import Running, free_port
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")
_WHO = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")


@pytest.fixture
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in one that the settings name."""
    folder = tmp_path_factory.mktemp("repositories")
    for place in (folder, *folder.parents):
        if str(place).startswith("/tmp/"):
            place.chmod(0o755)
    return folder


@pytest.fixture
def kept(service: Running) -> Iterator[Path]:
    """A repository of somebody's run, in the store."""
    place = repository(service.settings.store / "runs" / "training" / "999999" / "git")
    yield place
    shutil.rmtree(place.parent)


@pytest.fixture
def daemon(given: Path) -> Iterator[str]:
    """A git server of somebody's for what lies there: its address."""
    port = free_port()
    words = ["git", "daemon", "--export-all", f"--base-path={given}", "--listen=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        while not answers(port):
            time.sleep(0.05)
        yield f"git://127.0.0.1:{port}"
        process.terminate()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *_WHO, *words], cwd=folder, check=True, capture_output=True)


def repository(place: Path, **submodules: Path | str) -> Path:
    """Make one with a file that holds its name; submodules are named by addresses that git adds without a look."""
    place.mkdir(parents=True)
    git(place, "init", "--quiet", "-b", "main")
    (place / "file.txt").write_text(f"of {place.name}\n")
    for name, address in submodules.items():
        inner = address if isinstance(address, Path) else place.parent / "some"
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=inner, check=True, capture_output=True, text=True)
        git(place, "update-index", "--add", "--cacheinfo", f"160000,{commit.stdout.strip()},{name}")
        git(place, "config", "-f", ".gitmodules", f"submodule.{name}.path", name)
        git(place, "config", "-f", ".gitmodules", f"submodule.{name}.url", str(address))
    git(place, "add", *(path.name for path in place.iterdir() if path.is_file()))
    git(place, "commit", "--quiet", "-m", "first")
    return place


async def refused(caller: Caller, address: str) -> Any:
    body = {"command": "true", "source": {"kind": "git", "url": address}}
    return (await caller.post("/trainings", body, 422))["code"]


async def test_what_the_platform_keeps_is_no_repository_by_no_spelling(
    alice: Caller, given: Path, kept: Path, service: Running
) -> None:
    (given / "link").symlink_to(kept)
    (given / "inside").mkdir()
    (given / "inside" / ".git").symlink_to(kept / ".git")
    (given / "elsewhere").mkdir()
    (given / "elsewhere" / ".git").write_text(f"gitdir: {kept / '.git'}\n")
    for address in (
        f"{kept}",
        f"{kept}/.git",
        f"file://{kept}",
        f"file:///{kept}",
        f"{given}/..{'/..' * len(given.parts)}{kept}",
        f"{given}/link",
        f"file://{given}/link",
        f"{given}/inside",
        f"{given}/elsewhere",
        f"{service.settings.state}/secrets",
    ):
        assert await refused(alice, address) == "git_local_forbidden", address
    # What git would decode names nothing here.
    assert await refused(alice, f"file://{given}{'/%2e%2e' * len(given.parts)}{kept}") == "git_failed"


async def test_a_given_folder_brings_its_submodules_with_it_if_they_are_given_too(alice: Caller, given: Path) -> None:
    some = repository(given / "some")
    middle = repository(given / "middle", deep=some)
    outer = repository(given / "outer", near=middle, other=f"file://{some}", beside="../some")
    show = "cat file.txt near/file.txt near/deep/file.txt other/file.txt beside/file.txt"
    run = await alice.train(show, source={"kind": "git", "url": f"file://{outer}"})
    assert (await alice.ended(run["id"]))["phase"] == "completed", await alice.log(run["id"])
    assert await alice.log(run["id"]) == "of outer\nof middle\nof some\nof some\nof some\n"


async def test_a_submodule_leads_nowhere_else(alice: Caller, given: Path, kept: Path) -> None:
    repository(given / "some")
    (given / "link").symlink_to(kept)
    for number, address in enumerate((kept, f"file://{kept}", "../link", f"{given}/link")):
        middle = repository(given / f"middle{number}", taken=address)
        for place in (middle, repository(given / f"outer{number}", near=middle)):
            run = await alice.train("true", source={"kind": "git", "url": str(place)})
            ended = await alice.ended(run["id"])
            assert (ended["phase"], ended["reason"]) == ("failed", "git_local_forbidden"), (address, ended)
            assert not list((kept.parent.parent / str(run["id"])).glob("**/taken/file.txt"))


async def test_a_repository_elsewhere_brings_no_folder_of_this_machine(
    alice: Caller, given: Path, kept: Path, daemon: str
) -> None:
    some = repository(given / "some")
    for name, address in (("kept", kept), ("given", some)):
        place = repository(given / f"hostile-{name}", taken=address)
        run = await alice.train("true", source={"kind": "git", "url": f"{daemon}/{place.name}"})
        ended = await alice.ended(run["id"])
        assert (ended["phase"], ended["reason"]) == ("failed", "git_failed"), ended
        assert "'file' not allowed" in ended["message"]
