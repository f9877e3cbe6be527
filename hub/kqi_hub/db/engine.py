"""The engine and its transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kqi_hub.db.place import Place, place_of
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.errors import Unavailable
from kqi_hub.settings import Settings


class Database:
    """Transactions on one database. Writers come one after the other: `write` waits for the others at its first
    statement, and sees all that they have committed.

    Raises Unavailable, from any statement, while the database is away, full or overloaded.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.engine = place.engine()
        event.listen(self.engine.sync_engine, "handle_error", self._translate)
        self._reading = place.reading(self.engine)
        self._writing = self.engine.execution_options(kqi_write=True)

    @classmethod
    def at(cls, path: Path) -> "Database":
        """The database of a file."""
        return cls(SqliteFile(path))

    @classmethod
    def of(cls, settings: Settings) -> "Database":
        return cls(place_of(settings))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session on one snapshot; what it changes is thrown away."""
        async with self._session(self._reading) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end, or rolled back by an exception."""
        async with self._session(self._writing) as session, session.begin():
            yield session

    async def ping(self) -> None:
        async with self.read() as session:
            await session.execute(text("select 1"))

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session
        except PoolTimeout as error:
            raise Unavailable("database_busy") from error

    def _translate(self, context: ExceptionContext) -> None:
        fault = self.place.fault(context.sqlalchemy_exception or context.original_exception)
        if fault is not None:
            raise fault
