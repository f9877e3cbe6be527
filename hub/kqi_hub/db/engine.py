"""The engine and its transactions."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kqi_hub.errors import Unavailable

# A writer waits this long for another one before it gives up.
_BUSY_MS = 10_000


class Database:
    """Transactions on one database. `write` takes SQLite's write lock at its first statement."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(kqi_begin="IMMEDIATE")

    @classmethod
    def at(cls, path: Path) -> "Database":
        return cls(f"sqlite+aiosqlite:///{path}")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session on one snapshot; what it changes is thrown away."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end, or rolled back by an exception."""
        try:
            async with AsyncSession(self._writing, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            raise _translated(error) from error

    async def ping(self) -> None:
        async with self.read() as session:
            await session.execute(text("select 1"))

    async def close(self) -> None:
        await self.engine.dispose()


def _engine(url: str) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_MS / 1000} if "sqlite" in url else {})
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes too late for reads and is never IMMEDIATE: begin ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: object) -> None:
    options = connection.get_execution_options()  # type: ignore[attr-defined]
    connection.exec_driver_sql(f"BEGIN {options.get('kqi_begin', 'DEFERRED')}")  # type: ignore[attr-defined]


def _translated(error: OperationalError) -> Unavailable:
    code = getattr(error.orig, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_FULL"):
        return Unavailable("disk_full")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
        return Unavailable("store_read_only")
    return Unavailable("database_busy")
