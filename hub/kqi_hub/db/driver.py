"""A connection of aiosqlite for which a statement is one turn of its thread, or none.

aiosqlite gives each step of a statement (a cursor, its execution, its rows, its end) a turn of its own, and each turn
hands Python's lock from the loop to the thread and back; a request of ours is about ten statements. Here the thread
takes all the steps in one go, and BEGIN goes with the first statement. A question that is answered within a
millisecond, as nearly all are, is asked by the loop itself: to wake the thread takes several times as long. One that
turns out to be longer is broken off and asked by the thread; what writes, and so waits for the disk, always is.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiosqlite

# Instructions of SQLite's machine, of which it does some ten thousand in a millisecond.
_STEPS = 10_000


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
        connect = partial(sqlite3.connect, path, **{**options, "check_same_thread": False})
        super().__init__(connect, iter_chunk_size=1)
        self._thread.daemon = True  # a loop that ended without closing it must not keep the process
        self._begin = ""
        self._touched = self._writes = False
        self._turns: deque[None] = deque()  # those that the thread has before it; also where nobody waits any more

    def begin(self, statement: str, *, writes: bool) -> None:
        """Have `statement` go before the next one that is executed."""
        self._begin, self._writes = statement, writes

    def cursor(self) -> Cursor:  # type: ignore[override]
        return Cursor(self)

    async def take(self, how: Any, statement: str, values: Any) -> tuple[sqlite3.Cursor, Sequence[Any]]:
        """Execute a statement; return its closed cursor and all its rows."""
        self._touched = True
        waits = self._turns or (self._writes and self._begin)
        if how is sqlite3.Cursor.execute and statement.startswith("SELECT") and not waits:
            answer = self._at_once(statement, values)
            if answer is not None:
                return answer
        found: tuple[sqlite3.Cursor, Sequence[Any]] = await self._execute(self._steps, how, statement, values)
        return found

    async def commit(self) -> None:
        await self._end(super().commit)

    async def rollback(self) -> None:
        if self._touched and not (self._writes or self._turns):
            self._conn.rollback()
            self._touched = False
        await self._end(super().rollback)

    async def _end(self, how: Any) -> None:
        """Without a statement since the last end there is nothing to end: a pool rolls back what is over already."""
        if self._touched:
            await how()
        self._begin, self._touched = "", False

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        self._turns.append(None)
        return await super()._execute(self._turn, partial(fn, *args, **kwargs))  # type: ignore[no-untyped-call]

    def _turn(self, do: Any) -> Any:
        try:
            return do()
        finally:
            self._turns.pop()

    def _at_once(self, statement: str, values: Any) -> tuple[sqlite3.Cursor, Sequence[Any]] | None:
        """Ask here and now; None if that takes long, which leaves the transaction as it was."""
        self._start()  # never broken off: SQLite counts what a statement did in all of its executions
        self._conn.set_progress_handler(_break_off, _STEPS)
        try:
            return self._steps(sqlite3.Cursor.execute, statement, values)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
        finally:
            self._conn.set_progress_handler(None, 0)

    def _start(self) -> None:
        if self._begin:
            self._conn.execute(self._begin).close()
            self._begin = ""  # only now: a statement after a BEGIN that failed must not stand alone

    def _steps(self, how: Any, statement: str, values: Any) -> tuple[sqlite3.Cursor, Sequence[Any]]:
        self._start()
        cursor = self._conn.cursor()
        try:
            how(cursor, statement, values)
            return cursor, cursor.fetchall() if cursor.description else ()
        finally:
            cursor.close()


def _break_off() -> int:
    return 1
