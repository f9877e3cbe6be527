"""Where the database is: a file of SQLite, or a server of PostgreSQL. What differs between them is in these two."""

from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from kqi_hub.db.postgresql import PostgresServer
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.errors import Unavailable
from kqi_hub.settings import Settings


class Place(Protocol):
    @property
    def shown(self) -> str:
        """For people; never a password."""

    def engine(self) -> AsyncEngine:
        """Return an engine on which a transaction with the execution option `kqi_write` waits for all other writers."""

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        """Return the engine whose transactions each see one snapshot."""

    def sync_engine(self) -> Engine:
        """Return an engine for migrations. Each transaction on it is a writer."""

    def prepare(self, connection: Connection) -> None:
        """Make what the tables lie in. Raises ConfigError for a database that cannot keep our texts."""

    def fault(self, error: BaseException) -> Unavailable | None:
        """Return what to tell a caller who can do nothing about `error` but come again; None for any other error."""


def place_of(settings: Settings) -> SqliteFile | PostgresServer:
    if not settings.database.url:
        return SqliteFile(settings.state / "kqi.sqlite")
    return PostgresServer(settings.database)
