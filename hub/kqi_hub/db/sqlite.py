"""SQLite: one file beside the rest of the state, one writer at a time."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kqi_hub.errors import Unavailable

# A writer waits this long for another one before it gives up.
_BUSY_MS = 10_000


@dataclass(frozen=True, slots=True)
class SqliteFile:
    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)

    def engine(self) -> AsyncEngine:
        engine = create_async_engine(f"sqlite+aiosqlite:///{self.path}", connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
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
    writes = connection.get_execution_options().get("kqi_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")
