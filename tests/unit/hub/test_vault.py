"""Sealed secrets, and their keys: rotation loses nothing, wherever it is cut."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from kqi_hub.accounts.rows import CredentialRow
from kqi_hub.db.engine import Database
from kqi_hub.errors import Unavailable
from kqi_hub.identity import people
from kqi_hub.settings import Settings, load
from kqi_hub.supervisor.state import migrate_database
from kqi_hub.vault import Vault, rotate
from kqi_spawner.workload import Secret


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    found = load(environ={}, state=tmp_path / "state")
    found.state.mkdir()
    await asyncio.to_thread(migrate_database, found)
    database = Database.of(found)
    async with database.write() as session:
        tenant = await people.ensure_tenant(session, "t", "t")
        person = await people.ensure_person(session, "alice", tenant)
        vault = Vault.of(found)
        for number in range(20):
            row = CredentialRow(person_id=person.id, kind="git", server=f"{number}.example.org", username="git")
            row.secret, row.created_at = vault.seal(Secret(f"secret {number}")), datetime.now(UTC)
            session.add(row)
    await database.close()
    return found


async def secrets(settings: Settings, vault: Vault) -> set[str]:
    database = Database.of(settings)
    async with database.read() as session:
        sealed = list((await session.execute(select(CredentialRow.secret))).scalars())
    await database.close()
    return {vault.open(text).reveal() for text in sealed}


EVERYTHING = {f"secret {number}" for number in range(20)}


async def test_a_rotation_seals_everything_anew_and_forgets_the_old_key(settings: Settings) -> None:
    vault, database = Vault.of(settings), Database.of(settings)
    before = vault.keys()
    assert await rotate(database, vault) == 20
    await database.close()
    assert len(vault.keys()) == 1 and vault.keys() != before
    assert await secrets(settings, Vault.of(settings)) == EVERYTHING
    assert await secrets(settings, vault) == EVERYTHING
    path = settings.secrets / "vault-keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [left.name for left in settings.secrets.iterdir() if left.name.startswith(".vault-keys")]


async def test_a_rotation_that_was_cut_after_its_key_goes_on_with_that_key(settings: Settings) -> None:
    vault, database = Vault.of(settings), Database.of(settings)
    vault.begin_rotation()
    both = vault.keys()
    assert len(both) == 2
    assert await secrets(settings, Vault.of(settings)) == EVERYTHING
    await rotate(database, vault)
    await database.close()
    assert vault.keys() == both[:1]
    assert await secrets(settings, Vault.of(settings)) == EVERYTHING


async def test_one_that_cannot_open_everything_changes_nothing_and_keeps_all_keys(settings: Settings) -> None:
    vault, database = Vault.of(settings), Database.of(settings)
    other = Vault(settings.state / "other-keys")
    async with database.write() as session:
        row = (await session.execute(select(CredentialRow).limit(1))).scalar_one()
        mine = vault.open(row.secret).reveal()
        row.secret = other.seal(Secret("x"))
    before = vault.keys()
    with pytest.raises(Unavailable):
        await rotate(database, vault)
    assert vault.keys()[1:] == before
    async with database.write() as session:
        row = (await session.execute(select(CredentialRow).limit(1))).scalar_one()
        row.secret = vault.seal(Secret(mine))
    await rotate(database, vault)
    await database.close()
    assert await secrets(settings, Vault.of(settings)) == EVERYTHING


async def test_who_works_meanwhile_reads_and_writes_on(settings: Settings) -> None:
    """One process rotates again and again; another, which knew the first key, seals and opens all the time."""
    working, rotating, database = Vault.of(settings), Vault.of(settings), Database.of(settings)
    done = asyncio.Event()

    async def work() -> int:
        count = 0
        while not done.is_set():
            async with database.write() as session:
                row = (await session.execute(select(CredentialRow).limit(1))).scalar_one()
                row.secret = working.seal(Secret("secret 0"))
            assert await secrets(settings, working) == EVERYTHING
            count += 1
        return count

    task = asyncio.create_task(work())
    other = Database.of(settings)
    for _ in range(5):
        await rotate(other, rotating)
    done.set()
    assert await task > 0
    await database.close()
    await other.close()
    assert await secrets(settings, Vault.of(settings)) == EVERYTHING


async def test_all_processes_draw_the_same_first_key(tmp_path: Path) -> None:
    vaults = [Vault(tmp_path / "keys") for _ in range(20)]
    drawn = await asyncio.gather(*(asyncio.to_thread(vault.keys) for vault in vaults))
    assert len({tuple(keys) for keys in drawn}) == 1
