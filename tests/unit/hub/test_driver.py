"""Transactions on the embedded database: what BEGIN, a statement and an end that share their turns must not lose."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from kqi_hub.db import sqlite
from kqi_hub.db.engine import Database
from kqi_hub.errors import Unavailable

_ADD = text("insert into t values (:n)")
_COUNT = text("select count(*) from t")


@pytest_asyncio.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 50)
    for statement in ("pragma journal_mode=wal", "create table t (n integer unique)"):
        _behind(tmp_path).execute(statement)
    found = Database.at(tmp_path / "t.sqlite")
    yield found
    await found.close()


def _behind(folder: Path) -> sqlite3.Connection:
    """Return a connection of somebody else's, without transactions of its own making."""
    return sqlite3.connect(folder / "t.sqlite", isolation_level=None)


async def _numbers(database: Database) -> int:
    async with database.read() as session:
        return int((await session.execute(_COUNT)).scalar_one())


async def test_a_statement_whose_begin_failed_does_not_stand_alone(database: Database, tmp_path: Path) -> None:
    other = _behind(tmp_path)
    other.execute("begin immediate")
    async with database.engine.connect() as connection:
        writer = await connection.execution_options(kqi_write=True)
        with pytest.raises(Unavailable):
            await writer.execute(_ADD, {"n": 1})
        other.execute("rollback")
        # Whoever goes on after the refusal is in a transaction all the same, and what it did goes with it.
        await writer.execute(_ADD, {"n": 2})
        await writer.rollback()
    assert await _numbers(database) == 0
    async with database.write() as session:
        await session.execute(_ADD, {"n": 3})
    assert await _numbers(database) == 1


async def test_a_statement_that_fails_takes_the_transaction_with_it(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as session:
            await session.execute(_ADD, {"n": 1})
            await session.execute(_ADD, {"n": 1})
    assert await _numbers(database) == 0


async def test_who_is_cancelled_at_any_moment_leaves_nothing_open(database: Database, tmp_path: Path) -> None:
    async def write(number: int) -> None:
        async with database.write() as session:
            await session.execute(_ADD, {"n": number})
            await session.execute(_COUNT)

    for number in range(120):
        task = asyncio.create_task(write(number))
        for _ in range(number % 60):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    other = _behind(tmp_path)
    other.execute("begin immediate")  # nobody holds the lock any more
    other.execute("rollback")
    before = await _numbers(database)
    async with database.write() as session:
        await session.execute(_ADD, {"n": 1_000})
    assert await _numbers(database) == before + 1


async def test_a_read_sees_one_snapshot_and_keeps_it_no_longer_than_it_lasts(
    database: Database, tmp_path: Path
) -> None:
    other = _behind(tmp_path)
    async with database.read() as session:
        assert (await session.execute(_COUNT)).scalar_one() == 0
        other.execute("insert into t values (1)")
        assert (await session.execute(_COUNT)).scalar_one() == 0
    busy, _, _ = other.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert busy == 0
    assert await _numbers(database) == 1


async def test_rows_come_back_from_what_writes_and_from_many_at_once(database: Database) -> None:
    async with database.write() as session:
        returned = await session.execute(text("insert into t values (1), (2) returning n"))
        assert sorted(returned.scalars()) == [1, 2]
        await session.execute(_ADD, [{"n": number} for number in range(10, 20)])
        done = await session.execute(text("delete from t where n >= 15"))
        assert done.rowcount == 5  # type: ignore[attr-defined]
    assert await _numbers(database) == 7


async def test_a_long_question_holds_nobody_up_and_loses_nothing(database: Database) -> None:
    """It is broken off, and asked by the thread; in a transaction that writes, too."""
    long = text(
        "SELECT (SELECT count(*) FROM t), count(*) FROM"
        " (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n)"
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    async with database.write() as session:
        await session.execute(_ADD, {"n": 1})
        turns = 0
        assert (await session.execute(long)).one() == (1, 300_000)
        assert turns > 100
        await session.execute(_ADD, {"n": 2})
    async with database.read() as session:
        assert (await session.execute(long)).one() == (2, 300_000)
    beside.cancel()


async def test_short_questions_stay_short_however_many_they_are(database: Database) -> None:
    """SQLite adds up what a statement has done: what breaks off a long one comes to meet a short one, too."""
    async with database.engine.connect() as connection:
        for _ in range(12_000):
            assert (await connection.exec_driver_sql("SELECT count(*) FROM t")).scalar_one() == 0
            await connection.rollback()
