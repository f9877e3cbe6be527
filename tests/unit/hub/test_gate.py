"""Where children wait for the ground, and how a start tells that it is there."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from kqi_hub.db.migrate import _config
from kqi_hub.db.revision import HEAD
from kqi_hub.settings import load
from kqi_hub.supervisor.folders import prepare_folders
from kqi_hub.supervisor.gate import Gate
from kqi_hub.supervisor.ground import Ground, _complete

_CHILD = "from kqi_hub.supervisor.gate import wait_at_gate; wait_at_gate(); print('began')"


def child(gate: Gate) -> "subprocess.Popen[str]":
    environment = dict(os.environ)
    inherited = gate.shown_to(environment)
    words = [sys.executable, "-c", _CHILD]
    return subprocess.Popen(words, env=environment, pass_fds=inherited, stdout=subprocess.PIPE, text=True)


async def test_who_waits_begins_when_it_opens_and_who_comes_later_at_once() -> None:
    with Gate() as gate:
        waiting = [child(gate), child(gate)]
        gate.open()
        await gate.passed()
        assert [one.communicate(timeout=60)[0] for one in [*waiting, child(gate)]] == ["began\n"] * 3


async def test_who_waits_for_nothing_ends() -> None:
    with Gate() as gate:
        waiting = child(gate)
    assert (waiting.communicate(timeout=60)[0], waiting.returncode) == ("", 0)


def test_the_newest_revision_is_the_one_that_is_named() -> None:
    assert ScriptDirectory.from_config(_config()).get_current_head() == HEAD


def test_the_ground_is_laid_once_and_again_where_something_is_missing(tmp_path: Path) -> None:
    settings = load(environ={}, state=tmp_path)
    prepare_folders(settings)

    async def lay() -> bool:
        ground = Ground(settings)
        await ground.lay_schema()
        return await ground.first_account() is not None

    assert not _complete(settings)
    assert asyncio.run(lay()) and _complete(settings)
    assert asyncio.run(lay())  # told again until its password is changed
    (tmp_path / "secrets" / "initial-password").unlink()
    assert not asyncio.run(lay())
    another = load(environ={}, state=tmp_path, default_tenant="another")
    assert not _complete(another)  # a tenant that has to be made
    (tmp_path / "kqi.sqlite").write_bytes(b"no database")
    assert not _complete(settings)
