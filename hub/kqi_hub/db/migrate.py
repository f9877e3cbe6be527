"""Bring the database to this program's schema, and refuse one of a newer program."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine

from kqi_hub.errors import ConfigError

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(url: str) -> str:
    """Run what is missing and return the revision. `url` is synchronous. Raises ConfigError for a newer database."""
    check_not_newer(url)
    command.upgrade(_config(url), "head")
    return _scripts(url).get_current_head() or ""


def current(url: str) -> str | None:
    """Return the revision of the database, None for an empty one."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def check_not_newer(url: str) -> None:
    revision = current(url)
    if revision is None:
        return
    try:
        _scripts(url).get_revision(revision)
    except CommandError as error:
        raise ConfigError("database_newer", revision=revision) from error


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _scripts(url: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(url))
