"""Backup and restore of what people made, and what the platform brings along where a machine lacks it."""

import asyncio
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from kqi_hub.environments.make import readable_python
from kqi_hub.errors import Invalid
from kqi_hub.settings import load
from kqi_hub.supervisor import proxy
from kqi_spawner.local.accounts import ensure_account
from tests import database
from tests.platform import PROGRAM

_ROOT = os.geteuid() == 0


def command(*words: object, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **variables}
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, check=check, env=environment)


@pytest.fixture
def here() -> dict[str, str]:
    """Variables that name the database of the state that is backed up."""
    return database.variables(database.empty())


@pytest.fixture
def there() -> dict[str, str]:
    """The same of the one that it is restored to."""
    return database.variables(database.empty())


def filled(state: Path, here: dict[str, str]) -> Path:
    """Make a state with a home as people leave them; return the home."""
    command("migrate", "--state", state, **here)
    home = state / "store" / "homes" / "alice"
    home.mkdir(parents=True)
    (home / "python").symlink_to("/usr/bin/python3")
    (home / "dangling").symlink_to("nowhere")
    os.mkfifo(home / "pipe")
    (home / "日本語.txt").write_text("kept")
    os.link(home / "日本語.txt", home / "second name")
    (home / "closed").mkdir()
    (home / "closed" / "file").write_text("x")
    (home / "closed").chmod(0o555)
    if _ROOT:
        account = ensure_account()
        for path in (home, home / "日本語.txt", home / "python"):
            os.chown(path, *account, follow_symlinks=False)
    return home


def test_homes_come_back_with_their_links_owners_and_modes(
    tmp_path: Path, here: dict[str, str], there: dict[str, str]
) -> None:
    home = filled(tmp_path / "state", here)
    command("backup", tmp_path / "b.tar.gz", "--store", "--state", tmp_path / "state", **here)
    command("restore", tmp_path / "b.tar.gz", "--state", tmp_path / "other", **there)
    again = tmp_path / "other" / "store" / "homes" / "alice"
    assert os.readlink(again / "python") == "/usr/bin/python3"
    assert os.readlink(again / "dangling") == "nowhere"
    assert (again / "second name").samefile(again / "日本語.txt")
    assert (again / "日本語.txt").read_text() == "kept"
    assert (again / "closed").stat().st_mode & 0o777 == 0o555
    assert not (again / "pipe").exists()
    for name in ("", "python", "日本語.txt"):
        assert (again / name).lstat().st_uid == (home / name).lstat().st_uid


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", None)],
        [("/outside", None)],
        [("state/link", "/"), ("state/link/outside", None)],
        [("state/link", ".."), ("state/link/outside", None)],
    ],
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, members: list[tuple[str, str | None]]) -> None:
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        text = b'{"databases": {}, "blobs": {}, "store": false, "owner": null}'
        first = tarfile.TarInfo("manifest.json")
        first.size = len(text)
        archive.addfile(first, io.BytesIO(text))
        for name, link in members:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    done = command("restore", file, "--state", tmp_path / "state", check=False)
    assert done.returncode == 1 and "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("outside")) and not Path("/outside").exists()


def test_a_changed_blob_is_found_at_restore(tmp_path: Path, here: dict[str, str], there: dict[str, str]) -> None:
    filled(tmp_path / "state", here)
    digest = "ab" * 32
    (tmp_path / "state" / "store" / "blobs" / "sha256" / "ab").mkdir(parents=True)
    (tmp_path / "state" / "store" / "blobs" / "sha256" / "ab" / digest).write_text("not what its name says")
    command("backup", tmp_path / "b.tar.gz", "--store", "--state", tmp_path / "state", **here)
    done = command("restore", tmp_path / "b.tar.gz", "--state", tmp_path / "other", check=False, **there)
    assert done.returncode == 1 and digest in done.stderr
    assert not (tmp_path / "other" / "secrets").exists()


def test_check_config_hides_what_may_be_secret_and_fails_for_what_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "kqi-hub.toml"
    config.write_text('[defaults]\nPROXY = "http://me:hunter2@proxy"\n[traits.Directory]\nbind_password = "hunter3"\n')
    shown = command("check-config", "--state", tmp_path, "--config", config).stdout
    assert "hunter" not in shown and "bind_password" in shown
    wrong = command("check-config", "--state", tmp_path, KQI_HUB__SERVER__PROT="1", check=False)
    assert wrong.returncode == 1 and "server.prot" in wrong.stderr


def test_the_proxy_runs_on_the_node_that_came_with_us(tmp_path: Path) -> None:
    node = proxy.find_node(machine=False)
    assert ".venv" in node.node or "site-packages" in node.node
    script = asyncio.run(proxy.install(load(environ={}, state=tmp_path), node))
    said = subprocess.run([node.node, script, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "5.3.0"


@pytest.mark.skipif(not _ROOT, reason="needs another account")
def test_the_python_of_environments_can_be_run_by_the_account_of_workloads(state_for_all: Path) -> None:
    settings = load(environ={}, state=state_for_all)
    uid, gid = ensure_account()
    found = [readable_python(settings)]
    try:
        found.append(readable_python(settings, folders=()))
    except Invalid as error:
        # A Python built with a shared library under /root: said, and no broken copy is left.
        assert error.code == "python_not_usable"
        assert list((state_for_all / "python").iterdir()) == []
    for python in found:
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        code = "import ssl, sqlite3, ctypes, sys; print(sys.version_info >= (3, 11))"
        done = subprocess.run([*drop, str(python), "-I", "-c", code], capture_output=True, text=True, cwd="/")
        assert done.stdout == "True\n", (python, done.stderr)
