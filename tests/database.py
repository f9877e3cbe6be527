"""The database that tests run on: SQLite, or PostgreSQL with `KQI_TEST_DATABASE=postgresql`."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from kqi_hub.db.place import place_of
from kqi_hub.db.postgresql import WRITERS, PostgresServer
from kqi_hub.settings import as_environment, load
from tests import postgres

ON_POSTGRES = os.environ.get("KQI_TEST_DATABASE") == "postgresql"

# What a backup holds of it.
FILES = {"state/kqi.dump"} if ON_POSTGRES else {"state/kqi.sqlite", "state/hub/jupyterhub.sqlite"}


def fresh() -> dict[str, Any]:
    """Return the section `database` of the settings for a database of one's own, with the schema in it."""
    return postgres.server().database() if ON_POSTGRES else {}


def empty() -> dict[str, Any]:
    return postgres.server().empty() if ON_POSTGRES else {}


@contextmanager
def on_disk(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the section of a fresh database whose tables lie in `folder`, as those of SQLite do with the state."""
    if not ON_POSTGRES:
        yield {}
        return
    with postgres.server().database_in(folder) as section:
        yield section


def variables(section: dict[str, Any]) -> dict[str, str]:
    """Return the same as variables, for programs."""
    return as_environment({"database": section})


def content(state: Path, section: dict[str, Any]) -> object:
    """Return something that is equal as long as nothing was written; None for a database with nothing in it."""
    if ON_POSTGRES:
        return postgres.server().content(section)
    path = state / "kqi.sqlite"
    return path.read_bytes() if path.exists() else None


@contextmanager
def held(state: Path, section: dict[str, Any], *, once: str = "") -> Iterator[None]:
    """Keep the platform's writers out, from the moment that the answer to the query `once` is another one."""
    place = place_of(load(environ={}, state=state, database=section))
    if isinstance(place, PostgresServer):
        connection: Any = psycopg.connect(**place.libpq(), password=place.password(), autocommit=True)
        connection.execute("set search_path to kqi")
        take = ("begin", f"select pg_advisory_xact_lock({WRITERS})")
    else:
        connection = sqlite3.connect(place.path, isolation_level=None)
        take = ("begin immediate",)
    before = connection.execute(once).fetchall() if once else None
    while once and connection.execute(once).fetchall() == before:
        pass
    for statement in take:
        connection.execute(statement)
    try:
        yield
    finally:
        connection.execute("rollback")
        connection.close()


def execute(state: Path, section: dict[str, Any], *statements: str, hub: bool = False) -> list[tuple[Any, ...]]:
    """Run statements behind the platform's back, at JupyterHub's tables with `hub`; return the rows of the last."""
    place = place_of(load(environ={}, state=state, database=section))
    if isinstance(place, PostgresServer):
        with psycopg.connect(**place.libpq(), password=place.password()) as connection:
            connection.execute("set lock_timeout = '5s'")
            connection.execute("set search_path to jupyterhub" if hub else "set search_path to kqi")
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []
    with sqlite3.connect(state / "hub" / "jupyterhub.sqlite" if hub else place.path) as database:
        rows = [database.execute(statement).fetchall() for statement in statements]
    database.close()
    return rows[-1]
