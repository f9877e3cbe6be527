"""Schema and first account: made once, whole or not at all."""

import asyncio
import os
import sqlite3
from pathlib import Path

import psycopg
from sqlalchemy.exc import DatabaseError

from kqi_hub.db.engine import Database
from kqi_hub.db.migrate import is_current, migrate
from kqi_hub.db.place import place_of
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.directory.local import is_one_time, set_password
from kqi_hub.directory.one_time import one_time_password
from kqi_hub.errors import ConfigError, Unavailable
from kqi_hub.identity import people
from kqi_hub.settings import Settings
from kqi_hub.supervisor.account import FirstAccount, initial_password
from kqi_spawner.workload import Secret

ADMINISTRATOR = "admin"


def migrate_database(settings: Settings) -> str:
    """Bring the database up to date; refuse one of a newer program before anything is changed."""
    place = place_of(settings)
    try:
        if isinstance(place, SqliteFile):
            place.make()
        return migrate(place)
    except (DatabaseError, sqlite3.DatabaseError, psycopg.Error) as error:
        raise ConfigError("database_unreadable", path=place.shown, message=str(error.__cause__ or error)) from error


def is_there(settings: Settings) -> bool:
    """Return whether a start has made a database in this state, or the settings name a server that has one."""
    place = place_of(settings)
    return place.path.exists() if isinstance(place, SqliteFile) else True


async def first_account(settings: Settings) -> FirstAccount | None:
    """Make the first tenant, and the administrator if there are no people yet.

    Return who was made, also by an earlier start, for as long as the password is the one that was drawn then.
    """
    database = Database.of(settings)
    try:
        async with database.write() as session:
            tenant = await people.ensure_tenant(session, settings.default_tenant, settings.default_tenant)
            # One that was written before, by an installer or by a start that came to nothing, stays what people know.
            place = initial_password(settings)
            kept = place.read_text("utf-8").split() if place.exists() else []
            if await people.anybody(session):
                first = FirstAccount(ADMINISTRATOR, Secret(kept[-1])) if kept else None
                return first if first and await is_one_time(session, first.name, first.password) else None
            password = Secret(kept[-1]) if kept else one_time_password()
            person = await people.ensure_person(session, ADMINISTRATOR, tenant, administrator=True)
            await set_password(session, person.id, password, must_change=True)
            # Written before the commit: a crash in between costs a file, the other order an administrator.
            if not kept:
                await asyncio.to_thread(_keep, place, f"{ADMINISTRATOR} {password.reveal()}\n")
        return FirstAccount(ADMINISTRATOR, password)
    finally:
        await database.close()


async def prepared(settings: Settings) -> bool:
    """Return whether schema and first account are there; False also while the database does not answer."""
    place = place_of(settings)
    # To look into a file that is not there would make it, in the way of those who prepare it.
    if isinstance(place, SqliteFile) and not place.path.exists():
        return False
    try:
        if not await asyncio.to_thread(is_current, place):
            return False
        database = Database.of(settings)
        try:
            async with database.read() as session:
                return await people.anybody(session)
        finally:
            await database.close()
    except (DatabaseError, sqlite3.DatabaseError, psycopg.Error, Unavailable, OSError):
        return False


def _keep(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
