"""Sessions as administrators see them, whatever their number."""

from pathlib import Path

import pytest

from kqi_hub.administration.hub import HubSessionInfo
from kqi_hub.settings import load
from kqi_hub.testing.service import NobodyAtTheHub, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database
from tests.integration.api.caller import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
# A statement has at most 250,000 values on the SQLite of Debian, 65,535 on PostgreSQL.
_MANY = 260_000


class CrowdedHub(NobodyAtTheHub):
    """A hub with one browser that holds many tokens."""

    async def sessions(self, person: str | None = None) -> list[HubSessionInfo]:
        tokens = [f"a{number}" for number in range(_MANY)]
        never = {"began_at": None, "used_at": None, "expires_at": None}
        return [HubSessionInfo(id="s1", person="crowd", tokens=tokens, **never)]


async def test_the_sessions_of_a_crowd_are_listed(tmp_path: Path) -> None:
    settings = load(environ={}, state=tmp_path, server={"port": free_port()}, database=database.fresh())
    async with (
        running(settings, backend=MemoryBackend(), hub=CrowdedHub()) as service,
        await signed_in(service, "warden", "sandbox", administrator=True) as admin,
    ):
        found = (await admin.get("/admin/sessions"))["items"]
    assert [(item["id"], item["person"]) for item in found if item["kind"] == "browser"] == [("s1", "crowd")]
