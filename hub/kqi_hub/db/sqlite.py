"""SQLite: one file beside the rest of the state, one writer at a time."""

import asyncio
import contextlib
import os
import secrets
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from kqi_hub.db import driver
from kqi_hub.errors import Unavailable

# A writer waits this long for another one before it gives up.
_BUSY_MS = 10_000
_TURN = "kqi_turn"


@dataclass(frozen=True, slots=True)
class SqliteFile:
    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)

    def make(self) -> None:
        """Make the file, if it is missing, with a write-ahead log: later nobody else may have it open for that."""
        if self.path.exists():
            return
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        new.touch(mode=0o600)
        connection = sqlite3.connect(new)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        with contextlib.suppress(FileExistsError):
            os.link(new, self.path)
        new.unlink()

    def engine(self) -> AsyncEngine:
        options = {"timeout": _BUSY_MS / 1000, "async_creator_fn": driver.Connection}
        engine = create_async_engine(f"sqlite+aiosqlite:///{self.path}", connect_args=options)
        event.listen(engine.sync_engine, "connect", _prepare)
        turns = _Turns()
        for name in ("begin", "checkin", "invalidate"):
            event.listen(engine.sync_engine, name, getattr(turns, name))
        return engine

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        return engine

    def sync_engine(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self.path}", poolclass=pool.NullPool, connect_args={"timeout": _BUSY_MS / 1000}
        )
        event.listen(engine, "connect", _begin_ourselves)
        event.listen(engine, "begin", _begin)
        return engine.execution_options(kqi_write=True)

    def prepare(self, connection: Connection) -> None:
        """A file that can be opened will do."""

    def fault(self, error: BaseException) -> Unavailable | None:
        original = error.orig if isinstance(error, OperationalError) else error
        if not isinstance(original, sqlite3.OperationalError):
            return None
        code = getattr(original, "sqlite_errorname", "") or ""
        if code.startswith("SQLITE_FULL"):
            return Unavailable("disk_full")
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
            return Unavailable("store_read_only")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Unavailable("database_busy")
        return None


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    _begin_ourselves(connection, record)
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_ourselves(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes too late for reads and for changes of the schema, and is never IMMEDIATE.
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(_how(connection))


def _how(connection: Connection) -> str:
    return "BEGIN IMMEDIATE" if _writes(connection) else "BEGIN DEFERRED"


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("kqi_write"))


@dataclass(slots=True)
class _Turns:
    """Lets the writers of this process go one after the other, in the order in which they came.

    SQLite's own way for them is to sleep and try again: it wakes nobody, and who has bad luck starves.
    """

    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self, connection: Connection) -> None:
        if _writes(connection):
            await_only(self._wait())
            connection.info[_TURN] = True
        cast("driver.Connection", connection.connection.driver_connection).begin(
            _how(connection), writes=_writes(connection)
        )

    def checkin(self, _connection: object, record: Any) -> None:
        """The transaction is over when its connection is given back."""
        if record.info.pop(_TURN, False):
            self._turn.release()

    def invalidate(self, connection: object, record: Any, _error: object) -> None:
        self.checkin(connection, record)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_BUSY_MS / 1000):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable("database_busy") from error
