"""Files of an administrator that runs see: where they were put, for whom they are, and what is refused."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kqi_hub.errors import ConfigError
from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from tests.integration.api.caller import Caller, signed_in


@pytest_asyncio.fixture(loop_scope="session")
async def shared() -> AsyncIterator[Running]:
    """Models for everybody, and a folder that only one tenant has, and may write to."""
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    state.chmod(0o755)
    place = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    place.chmod(0o755)
    (place / "models/net").mkdir(parents=True)
    (place / "models/net/weights").write_text("0.5")
    (place / "pool").mkdir()
    (place / "pool").chmod(0o777)
    (state / "environments/default/bin").mkdir(parents=True)
    os.symlink("/usr/bin/python3", state / "environments/default/bin/python")
    volumes = [
        {"name": "models", "path": str(place / "models"), "at": "/kqi/models"},
        {"name": "pool", "path": str(place / "pool"), "access": "rw", "tenants": ["one"]},
    ]
    settings = load(environ={}, state=state, server={"port": free_port()}, volumes=volumes)
    async with running(settings) as found:
        yield found
    shutil.rmtree(state)
    shutil.rmtree(place)


@pytest.mark.asyncio(loop_scope="session")
async def test_volumes_are_seen_where_they_were_put_by_those_they_are_for(shared: Running) -> None:
    pool = shared.settings.volumes[1].path
    assert pool
    say = 'cat "$KQI_ROOT/models/net/weights"; echo x 2>/dev/null >"$KQI_ROOT/models/new" || echo closed; '
    say += f'ls "$KQI_ROOT/volumes/pool" 2>/dev/null || echo none; ls {pool} 2>/dev/null'
    async with await signed_in(shared, "alice", "one") as alice, await signed_in(shared, "bob", "two") as bob:
        ours = 'echo mine >"$KQI_ROOT/volumes/pool/result"; ' + say
        assert await _said(alice, ours) == "0.5closed\nresult\n"
        assert await _said(bob, say) == "0.5closed\nnone\n"
    assert (pool / "result").read_text() == "mine\n"


async def _said(caller: Caller, command: str) -> str:
    run = await caller.ended((await caller.train(command))["id"])
    return str((await caller.client.get(f"/trainings/{run['id']}/log")).text)


@pytest.mark.parametrize(
    ("volume", "code"),
    [
        ({"name": "a", "at": "/kqi/models"}, "volume_nowhere"),
        ({"name": "a", "path": "relative"}, "volume_nowhere"),
        ({"name": "a", "path": "/srv", "at": "/kqi/output"}, "volume_place"),
        ({"name": "a", "path": "/srv", "at": "/usr"}, "volume_place"),
        ({"name": "a", "path": "/srv", "at": "/data/../etc"}, "volume_place"),
        ({"name": "A B", "path": "/srv"}, "config_bad_value"),
        ({"name": "a", "path": "/srv", "folder": "../x"}, "volume_folder"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_at_the_start(volume: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(environ={}, state=tmp_path, volumes=[volume])
    assert refused.value.code == code


def test_two_volumes_at_one_place_are_refused(tmp_path: Path) -> None:
    both = [{"name": name, "path": "/srv", "at": "/kqi/models"} for name in ("a", "b")]
    with pytest.raises(ConfigError) as refused:
        load(environ={}, state=tmp_path, volumes=both)
    assert refused.value.code == "volume_place"
