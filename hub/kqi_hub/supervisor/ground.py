"""What a start finds or makes before anything runs on it: the schema, the first tenant and administrator."""

import asyncio
import sqlite3
from contextlib import closing
from types import ModuleType

from kqi_hub.db.revision import HEAD
from kqi_hub.settings import Settings
from kqi_hub.supervisor.account import FirstAccount, initial_password


class Ground:
    """Looks first: where the last start left all of it, nothing is loaded that could make it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._complete = _complete(settings)

    async def lay_schema(self) -> None:
        """Raises ConfigError for a database that cannot be read, or is of a newer version."""
        if not self._complete:
            await asyncio.to_thread(_state().migrate_database, self._settings)

    async def first_account(self) -> FirstAccount | None:
        """Return the administrator who was made, now or by a start whose password nobody has used yet."""
        if self._complete and not initial_password(self._settings).exists():
            return None
        made: FirstAccount | None = await _state().first_account(self._settings)
        return made


def _complete(settings: Settings) -> bool:
    """Return whether the file of SQLite says that nothing is missing; False where only the libraries can tell."""
    if settings.database.url:
        return False
    path = settings.state / "kqi.sqlite"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            tenant = connection.execute("SELECT 1 FROM tenants WHERE name = ?", [settings.default_tenant]).fetchone()
            anybody = connection.execute("SELECT 1 FROM people LIMIT 1").fetchone()
    except sqlite3.Error:
        return False
    return versions == [(HEAD,)] and bool(tenant and anybody)


def _state() -> ModuleType:
    # SQLAlchemy and Alembic, for which a start would wait a second.
    from kqi_hub.supervisor import state  # noqa: PLC0415

    return state
