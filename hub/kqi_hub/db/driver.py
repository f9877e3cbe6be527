"""A connection of aiosqlite for which a statement is one turn of its thread.

aiosqlite gives each step of a statement (a cursor, its execution, its rows, its end) a turn of its own, and each turn
hands Python's lock from the loop to the thread and back; a request of ours is about ten statements. Here the thread
takes all the steps in one go, and BEGIN goes with the first statement.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiosqlite


class Cursor:
    """What SQLAlchemy asks of a cursor. Its rows are there as soon as it was executed."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()
        self.description: Any = None
        self.lastrowid: int | None = None
        self.rowcount, self.arraysize = -1, 1

    async def __aenter__(self) -> "Cursor":
        return self

    async def execute(self, statement: str, values: Any = ()) -> None:
        await self._take(sqlite3.Cursor.execute, statement, values)

    async def executemany(self, statement: str, values: Any) -> None:
        await self._take(sqlite3.Cursor.executemany, statement, values)

    async def fetchall(self) -> Sequence[Any]:
        return self._rows

    async def close(self) -> None:
        """It is closed already."""

    async def _take(self, how: Any, statement: str, values: Any) -> None:
        done, self._rows = await self._connection.take(how, statement, values)
        self.description, self.rowcount, self.lastrowid = done.description, done.rowcount, done.lastrowid


class Connection(aiosqlite.Connection):
    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(partial(sqlite3.connect, path, **options), iter_chunk_size=1)
        self._thread.daemon = True  # a loop that ended without closing it must not keep the process
        self._begin = ""
        self._touched = False

    def begin(self, statement: str) -> None:
        """Have `statement` go before the next one that is executed."""
        self._begin = statement

    def cursor(self) -> Cursor:  # type: ignore[override]
        return Cursor(self)

    async def take(self, how: Any, statement: str, values: Any) -> tuple[sqlite3.Cursor, Sequence[Any]]:
        """Execute a statement; return its closed cursor and all its rows."""
        self._touched = True
        found: tuple[sqlite3.Cursor, Sequence[Any]] = await self._execute(self._steps, how, statement, values)  # type: ignore[no-untyped-call]
        return found

    async def commit(self) -> None:
        await self._end(super().commit)

    async def rollback(self) -> None:
        await self._end(super().rollback)

    async def _end(self, how: Any) -> None:
        """Without a statement since the last end there is nothing to end: a pool rolls back what is over already."""
        if self._touched:
            await how()
        self._begin, self._touched = "", False

    def _steps(self, how: Any, statement: str, values: Any) -> tuple[sqlite3.Cursor, Sequence[Any]]:
        cursor = self._conn.cursor()
        try:
            if self._begin:
                cursor.execute(self._begin)
                self._begin = ""  # only now: a statement after a BEGIN that failed must not stand alone
            how(cursor, statement, values)
            return cursor, cursor.fetchall() if cursor.description else ()
        finally:
            cursor.close()
