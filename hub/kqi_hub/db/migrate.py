"""Bring the database to this program's schema, and refuse one of a newer program."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection

from kqi_hub.db.place import Place
from kqi_hub.errors import ConfigError

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(place: Place) -> str:
    """Run what is missing, all or nothing, and return the revision. Raises ConfigError for a newer database.

    Of several processes that do this at once, one migrates while the others wait and then find nothing to do.
    """
    engine = place.sync_engine()
    try:
        with engine.begin() as connection:
            place.prepare(connection)
            _check_not_newer(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(place: Place) -> str | None:
    """Return the revision of the database, None for an empty one."""
    engine = place.sync_engine()
    try:
        with engine.connect().execution_options(kqi_write=False) as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def is_current(place: Place) -> bool:
    """Return whether nothing is missing. Raises ConfigError for a newer database."""
    revision = current(place)
    check_known(revision)
    return revision is not None and revision == ScriptDirectory.from_config(_config()).get_current_head()


def check_not_newer(place: Place) -> None:
    engine = place.sync_engine()
    try:
        with engine.connect().execution_options(kqi_write=False) as connection:
            _check_not_newer(connection)
    finally:
        engine.dispose()


def _check_not_newer(connection: Connection) -> None:
    check_known(_revision(connection))


def check_known(revision: str | None) -> None:
    """Raises ConfigError for a revision of a newer program."""
    if revision is None:
        return
    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError as error:
        raise ConfigError("database_newer", revision=revision) from error


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
