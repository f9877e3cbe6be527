"""The audit log as it lies in the database: it only grows, and whoever gets around that is found out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from kqi_hub.audit.log import AuditRow, Entry, append, link
from kqi_hub.audit.refusals import Refusals
from kqi_hub.audit.seals import Keeper
from kqi_hub.audit.verify import Damage, Verdict, verify
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.settings import Settings, load
from kqi_hub.supervisor.state import migrate_database
from kqi_spawner.workload import Secret
from tests import database as tests_database

KEY = Secret("a key of this test")
Damaged = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings: Settings = load(environ={}, state=tmp_path, database=tests_database.fresh())
    await asyncio.to_thread(migrate_database, settings)
    found = Database.of(settings)
    yield found
    await found.close()


@pytest.fixture
def keeper(database: Database, tmp_path: Path) -> Keeper:
    return Keeper(database=database, key=KEY, file=tmp_path / "audit" / "seals")


async def write(database: Database, count: int, **fields: Any) -> None:
    for number in range(count):
        async with database.write() as session:
            await append(session, Entry(**{"action": "run.submit", "thing": f"training/{number}", **fields}))


async def judged(keeper: Keeper) -> Verdict:
    async with keeper.database.read() as session:
        return await verify(session, keeper)


async def run(database: Database, *statements: str) -> None:
    """Do what somebody does who owns the database: its triggers do not stop them."""
    drop = (
        ("DROP TRIGGER IF EXISTS audit_update ON audit", "DROP TRIGGER IF EXISTS audit_delete ON audit")
        if tests_database.ON_POSTGRES
        else ("DROP TRIGGER IF EXISTS audit_update", "DROP TRIGGER IF EXISTS audit_delete")
    )
    async with database.write() as session:
        for statement in (*drop, *statements):
            await session.execute(text(statement))


async def test_a_log_that_nobody_touched_is_whole(database: Database, keeper: Keeper) -> None:
    await write(database, 5)
    await keeper.seal()
    await write(database, 2)
    verdict = await judged(keeper)
    assert (verdict.faults, verdict.entries, verdict.first, verdict.last, verdict.sealed) == ([], 7, 1, 7, 5)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET details = '{}' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit",
        "UPDATE audit_anchors SET entry = 99",
        "DELETE FROM audit_anchors",
    ],
)
async def test_the_database_itself_refuses_to_change_or_remove_entries(
    database: Database, keeper: Keeper, statement: str
) -> None:
    await write(database, 3, thing="x")
    await Keeper(database=database, key=KEY, file=keeper.file, keep_days=1).prune()
    async with database.write() as session:
        await session.execute(
            text("INSERT INTO audit_anchors (id, entry, hash, at, mac) VALUES (9, 0, '', :at, '')"),
            {"at": now().replace(tzinfo=None) if not tests_database.ON_POSTGRES else now()},
        )
    with pytest.raises(DBAPIError, match="audit only grows"):
        async with database.write() as session:
            await session.execute(text(statement))


async def test_an_entry_cannot_be_replaced_by_inserting_it_again(database: Database) -> None:
    await write(database, 2)
    verb = "INSERT" if tests_database.ON_POSTGRES else "INSERT OR REPLACE"
    with pytest.raises(DBAPIError):
        async with database.write() as session:
            await session.execute(
                text(
                    f"{verb} INTO audit (id, at, action, object, details, person, tenant, address, refused, hash) "
                    "SELECT id, at, action, object, 'x', person, tenant, address, refused, hash FROM audit"
                )
            )


@pytest.mark.parametrize("column", ["action", "object", "details", "person", "address", "refused", "hash"])
async def test_a_changed_entry_is_found_whatever_was_changed(database: Database, keeper: Keeper, column: str) -> None:
    await write(database, 5)
    await run(database, f"UPDATE audit SET {column} = 'x' WHERE id = 3")
    assert Damage.CHANGED in {fault.damage for fault in (await judged(keeper)).faults}
    assert (await judged(keeper)).faults[0].first == 3


async def test_a_changed_time_is_found(database: Database, keeper: Keeper) -> None:
    await write(database, 3)
    await run(database)
    async with database.write() as session:
        await session.execute(update(AuditRow).where(AuditRow.id == 2).values(at=now() - timedelta(days=1)))
    assert [(fault.damage, fault.first) for fault in (await judged(keeper)).faults] == [(Damage.CHANGED, 2)]


async def test_entries_that_were_taken_out_are_found(database: Database, keeper: Keeper) -> None:
    await write(database, 6)
    await run(database, "DELETE FROM audit WHERE id IN (3, 4)")
    faults = (await judged(keeper)).faults
    assert (faults[0].damage, faults[0].first, faults[0].last) == (Damage.MISSING, 3, 4)


async def test_a_beginning_that_was_taken_out_is_found(database: Database, keeper: Keeper) -> None:
    await write(database, 4)
    await run(database, "DELETE FROM audit WHERE id <= 2")
    assert (await judged(keeper)).faults[0].damage is Damage.MISSING


@pytest.mark.parametrize("also", [(), ("DELETE FROM audit_seals",)], ids=["log", "log and seals"])
async def test_newest_entries_that_were_cut_off_are_found(
    database: Database, keeper: Keeper, also: tuple[str, ...]
) -> None:
    await write(database, 6)
    await keeper.seal()
    await run(database, "DELETE FROM audit WHERE id > 4", *also)
    faults = (await judged(keeper)).faults
    assert [(fault.damage, fault.first, fault.last) for fault in faults] == [(Damage.CUT, 5, 6)]


async def test_a_log_that_was_emptied_is_found(database: Database, keeper: Keeper) -> None:
    await write(database, 3)
    await keeper.seal()
    await run(database, "DELETE FROM audit")
    assert (await judged(keeper)).faults[0].damage is Damage.CUT


async def test_a_chain_that_was_made_anew_differs_from_its_seal(database: Database, keeper: Keeper) -> None:
    await write(database, 5)
    await keeper.seal()
    await run(database, "UPDATE audit SET person = 'somebody else' WHERE id = 2")
    async with database.write() as session:
        before = ""
        for number in range(1, 6):
            row = await session.get_one(AuditRow, number)
            row.hash = before = link(before, row)
    faults = (await judged(keeper)).faults
    assert [(fault.damage, fault.first) for fault in faults] == [(Damage.SEAL_DIFFERS, 5)]


async def test_a_seal_of_another_key_is_found(database: Database, keeper: Keeper, tmp_path: Path) -> None:
    await write(database, 2)
    forger = Keeper(database=database, key=Secret("another key"), file=tmp_path / "elsewhere")
    await forger.seal()
    assert (await judged(keeper)).faults[0].damage is Damage.SEAL_FORGED


async def test_what_is_older_than_the_rule_says_goes_and_the_rest_stays_verifiable(
    database: Database, keeper: Keeper
) -> None:
    await write(database, 3)
    await run(database)
    async with database.write() as session:  # as if they had been written long ago
        before = ""
        for number in range(1, 4):
            row = await session.get_one(AuditRow, number)
            row.at = now() - timedelta(days=40)
            row.hash = before = link(before, row)
    await write(database, 2)
    await keeper.seal()
    pruning = Keeper(database=database, key=KEY, file=keeper.file, keep_days=30)
    assert await pruning.prune() == 3
    assert await pruning.prune() == 0
    verdict = await judged(pruning)
    assert (verdict.faults, verdict.first, verdict.last) == ([], 4, 6)
    async with database.read() as session:
        assert (await session.get_one(AuditRow, 6)).action == "audit.prune"
    await run(database, "DELETE FROM audit WHERE id = 4")
    assert [fault.damage for fault in (await judged(pruning)).faults] == [Damage.MISSING]


async def test_a_file_of_seals_does_not_grow_for_ever_and_a_torn_line_costs_one_seal(
    database: Database, keeper: Keeper
) -> None:
    await write(database, 1)
    await keeper.seal()
    line = keeper.file.read_text()
    keeper.file.write_text(line * 2_000 + "\n{torn")
    await write(database, 1)
    await keeper.seal()
    assert len(keeper.file.read_text().splitlines()) < 1_100
    assert [mark.entry for mark in keeper.outside()][-1] == 2
    assert (await judged(keeper)).faults == []


async def test_a_seal_is_written_only_when_something_came(database: Database, keeper: Keeper) -> None:
    await write(database, 1)
    for _ in range(3):
        await keeper.seal()
    assert len(keeper.outside()) == 1


async def refused(database: Database) -> list[tuple[str, str, str]]:
    async with database.read() as session:
        rows = await session.execute(text("SELECT person, refused, details FROM audit ORDER BY id"))
        return [tuple(row) for row in rows]


async def test_repeated_refusals_become_one_entry_with_a_count(database: Database) -> None:
    time = 0.0
    refusals = Refusals(database=database, clock=lambda: time)
    for _ in range(1_000):
        await refusals.note(Entry(action="session.begin", thing="person/eve", name="eve", refused="sign_in_failed"))
    assert await refused(database) == [("eve", "sign_in_failed", "{}")]
    time = 61.0
    await refusals.note(Entry(action="session.begin", thing="person/eve", name="eve", refused="sign_in_failed"))
    assert await refused(database) == [
        ("eve", "sign_in_failed", "{}"),
        ("eve", "sign_in_failed", '{"times": 999}'),
        ("eve", "sign_in_failed", "{}"),
    ]
    await refusals.close()


async def test_a_flood_of_different_refusals_is_bounded(database: Database) -> None:
    refusals = Refusals(database=database, kinds=10)
    for number in range(500):
        await refusals.note(Entry(action="session.begin", thing=f"person/{number}", name=str(number), refused="wrong"))
    for number in range(500):
        await refusals.note(Entry(action=f"a{number}", thing="t", person=1, name="eve", refused="not_permitted"))
    await refusals.note(Entry(action="data.read", thing="data/1", person=2, name="alice", refused="not_permitted"))
    found = await refused(database)
    assert [name for name, _, _ in found] == [*[str(number) for number in range(10)], "", *["eve"] * 11, "alice"]
    await refusals.close()
    assert (await refused(database))[-2:] == [
        ("", "wrong", '{"times": 489}'),
        ("eve", "not_permitted", '{"times": 489}'),
    ]


async def test_a_minute_that_nobody_comes_after_is_counted_by_itself(database: Database) -> None:
    refusals = Refusals(database=database, minute_s=0.05)
    for _ in range(3):
        await refusals.note(Entry(action="a", thing="b", refused="c"))
    async with asyncio.timeout(10):
        while len(await refused(database)) < 2:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)
    await refusals.close()
