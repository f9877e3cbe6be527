"""What people entrust to the platform and it must be able to read again, sealed by keys of a file, newest first."""

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Table, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.db.base import Base, Words
from kqi_hub.db.engine import Database
from kqi_hub.errors import Conflict, Unavailable
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret


class Sealed(Words):
    """A column that holds nothing but what `Vault.seal` made; every one of them is sealed anew by `rotate`."""

    cache_ok = True


class Vault:
    """Seals and opens. The file may be changed by another process at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Keys that were dropped meanwhile open what a reader still has of a snapshot before.
        self._known: dict[str, Fernet] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.secrets / "vault-keys")

    def seal(self, secret: Secret) -> str:
        """Seal by the newest key. Call it within the transaction that writes the result.

        Writers are serial: so either a rotation that is under way seals it anew, or it had begun before and this
        reads its key.
        """
        newest = self.keys()[0]
        return Fernet(newest).encrypt(secret.reveal().encode("utf-8", "surrogatepass")).decode()

    def open(self, sealed: str) -> Secret:
        """Return what was sealed. Raises Unavailable where its key is gone."""
        for key in self.keys():
            self._known.setdefault(key, Fernet(key))
        try:
            plain = MultiFernet(list(self._known.values())).decrypt(sealed.encode())
        except InvalidToken as error:
            raise Unavailable("vault_key_missing") from error
        return Secret(plain.decode("utf-8", "surrogatepass"))

    def keys(self) -> list[str]:
        """Return the keys, newest first; the first one is drawn when it is needed. Raises Unavailable."""
        try:
            if not self._path.exists():
                self._draw_the_first()
            return self._path.read_text("ascii").split()
        except OSError as error:
            raise Unavailable("vault_key_missing") from error

    def begin_rotation(self) -> None:
        """Put a new key in front, unless one is there already: of an installer, or of a rotation that was cut."""
        keys = self.keys()
        if len(keys) == 1:
            if not self._ours:
                raise Conflict("vault_keys_read_only", path=self._path)
            self._replace([_drawn(), *keys])

    def end_rotation(self) -> None:
        """Drop all keys but the newest, where they are ours to drop."""
        if self._ours:
            self._replace(self.keys()[:1])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other rotations out."""
        self.keys()
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    @property
    def _ours(self) -> bool:
        """Whether the file may be changed: where an installer keeps the keys, it may not."""
        return os.access(self._path.parent, os.W_OK)

    def _draw_the_first(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        drawn = self._written([_drawn()])
        # Not renamed: of two processes that draw it at once, both are to read the one that came first.
        with suppress(FileExistsError):
            self._path.hardlink_to(drawn)
        drawn.unlink()

    def _replace(self, keys: list[str]) -> None:
        written = self._written(keys)
        if os.geteuid() == 0:
            before = self._path.stat()
            os.chown(written, before.st_uid, before.st_gid)
        os.replace(written, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _written(self, keys: list[str]) -> Path:
        building = self._path.with_name(f".{self._path.name}.{os.urandom(4).hex()}")
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return building


async def rotate(database: Database, vault: Vault) -> int:
    """Seal everything anew by a new key, in one transaction, and only then drop the old one; return how many.

    A crash at any point leaves keys that open everything, and the next call goes on from there.
    """
    with vault.alone():
        vault.begin_rotation()
        async with database.write() as session:
            columns = [(table, column) for table in Base.metadata.sorted_tables for column in table.columns]
            sealed = [(table, column) for table, column in columns if isinstance(column.type, Sealed)]
            count = sum([await _seal_anew(session, vault, table, column) for table, column in sealed])
        vault.end_rotation()
    return count


async def _seal_anew(session: AsyncSession, vault: Vault, table: Table, column: Any) -> int:
    keys = list(table.primary_key.columns)
    rows = (await session.execute(select(column, *keys).where(column.is_not(None)))).all()
    for sealed, *values in rows:
        anew = vault.seal(vault.open(sealed))
        statement = update(table).where(*(key == value for key, value in zip(keys, values, strict=True)))
        await session.execute(statement.values({column.name: anew}))
    return len(rows)


def _drawn() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
