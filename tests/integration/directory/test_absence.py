"""Who is no longer in the directory has no way in left; an odd entry keeps nobody else from being looked up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from kqi_hub.accounts.rows import SshKeyRow
from kqi_hub.clock import now
from kqi_hub.directory.arrival import Arrived, arrive
from kqi_hub.directory.base import Entry, Unanswered
from kqi_hub.identity.rows import BrowserSessionRow
from kqi_hub.settings import load
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import SERVICE_TOKEN, Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database, slapd
from tests.integration.api.caller import Caller, signed_in
from tests.integration.directory.conftest import Open
from tests.slapd import Slapd


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory()


@pytest_asyncio.fixture
async def service(tmp_path: Path, directory: MemoryDirectory) -> AsyncIterator[Running]:
    settings = load(
        environ={},
        state=tmp_path,
        server={"port": free_port()},
        database=database.fresh(),
        sign_in={"look_again_s": 0.1},
    )
    async with running(settings, MemoryBackend(), directory) as found:
        yield found


async def arrives(service: Running, directory: MemoryDirectory, name: str, way: type[Any]) -> None:
    """Have somebody of the directory be known here, with an SSH key or as seen at a browser, and nothing else."""
    directory.put(Entry(name=name, source="ldap", dn=f"uid={name},dc=x"))
    async with service.database.write() as session:
        (found,) = await arrive(session, [directory.entries[name]], default_tenant="sandbox")
        assert isinstance(found, Arrived)
        if way is SshKeyRow:
            row = SshKeyRow(person_id=found.id, fingerprint=f"SHA256:{name}", key="ssh-ed25519 AAAA", created_at=now())
            session.add(row)
        else:
            seen = {"address": "192.0.2.1", "agent": "a browser", "began_at": now(), "used_at": now()}
            session.add(BrowserSessionRow(token=f"a{found.id}", person_id=found.id, **seen))


async def state(root: Caller, name: str, wanted: str) -> None:
    """Wait until somebody is in this state."""
    async with asyncio.timeout(30):
        while (await root.get(f"/admin/people/{name}"))["state"] != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_keys_of_who_is_gone_are_told_to_no_gateway(service: Running, directory: MemoryDirectory) -> None:
    await arrives(service, directory, "keyed", SshKeyRow)
    gateway = httpx.AsyncClient(base_url=f"{service.url}/services/kqi/api/v1", timeout=60)
    gateway.headers["Authorization"] = f"Bearer {SERVICE_TOKEN}"

    async def keys() -> list[str]:
        items = (await gateway.get("/internal/ssh-keys", params={"person": "keyed"})).json()["items"]
        return [one["fingerprint"] for one in items]

    async with await signed_in(service, "root", "sandbox", administrator=True) as root, gateway:
        assert await keys() == ["SHA256:keyed"]
        entry = directory.entries.pop("keyed")
        await state(root, "keyed", "gone")
        assert await keys() == []
        directory.put(entry)
        await state(root, "keyed", "active")
        assert await keys() == ["SHA256:keyed"]


async def test_an_entry_that_cannot_be_read_keeps_nobody_else_from_being_seen(
    service: Running, directory: MemoryDirectory
) -> None:
    for name in ("odd", "browses"):
        await arrives(service, directory, name, BrowserSessionRow)
    async with await signed_in(service, "root", "sandbox", administrator=True) as root:
        directory.odd.add("odd")
        del directory.entries["browses"]
        await state(root, "browses", "gone")
        await state(root, "odd", "active")


async def test_a_directory_that_says_too_much_of_one_person_is_not_away(open_directory: Open) -> None:
    server = Slapd()
    heavy = slapd.person("heavy", description=[f"{number:04d} " + "x" * 60_000 for number in range(80)])
    server.load([*slapd.tree(), slapd.person("alice"), heavy])
    with server:
        directory = open_directory(server, auth_state_attributes=["description"])
        with pytest.raises(Unanswered):
            await directory.look_up("heavy")
        assert await directory.look_up("alice")
