"""The state folder: made once, whole or not at all."""

import asyncio
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from kqi_hub.db.engine import Database
from kqi_hub.db.migrate import check_not_newer, migrate
from kqi_hub.directory.local import set_password
from kqi_hub.errors import ConfigError
from kqi_hub.identity import people
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret

ADMINISTRATOR = "admin"


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The administrator of a first start, whose password is shown once."""

    name: str
    password: Secret


def prepare_folders(settings: Settings) -> None:
    """Make the folders. As root, workloads of another account must be able to pass; secrets they cannot enter."""
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            settings.state.chmod(0o755)
        for folder in (settings.secrets, settings.hub_state):
            folder.mkdir(mode=0o700, exist_ok=True)
        run = settings.state / "run"
        run.mkdir(exist_ok=True)
        # Entered, not listed, by the workloads' account: the engine keeps a folder for each workload in it.
        run.chmod(0o711)
        for folder in (settings.environments, settings.store):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        probe = settings.state / "run" / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError("state_not_writable", path=settings.state, message=error.strerror or str(error)) from error


def migrate_database(settings: Settings) -> str:
    """Bring the database up to date; refuse one of a newer program before anything is changed."""
    url = f"sqlite:///{settings.database}"
    try:
        if settings.database.exists():
            check_not_newer(url)
        else:
            settings.database.touch(mode=0o600)
        return migrate(url)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise ConfigError(
            "database_unreadable", path=settings.database, message=str(error.__cause__ or error)
        ) from error


async def first_account(settings: Settings) -> FirstAccount | None:
    """Make the first tenant, and the administrator if there are no people yet."""
    database = Database.at(settings.database)
    try:
        async with database.write() as session:
            tenant = await people.ensure_tenant(session, settings.default_tenant, settings.default_tenant)
            if await people.anybody(session):
                return None
            password = Secret(one_time_password())
            person = await people.ensure_person(session, ADMINISTRATOR, tenant, administrator=True)
            await set_password(session, person.id, password, must_change=True)
            # Written before the commit: a crash in between costs a file, the other order an administrator.
            await asyncio.to_thread(
                _keep, settings.secrets / "initial-password", f"{ADMINISTRATOR} {password.reveal()}\n"
            )
        return FirstAccount(ADMINISTRATOR, password)
    finally:
        await database.close()


def one_time_password() -> str:
    """Return a password of 100 bits in groups that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def _keep(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
