"""What opens git servers and registries for a person: sealed in the database, opened where it is used."""

import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi.schema import CredentialKind
from kqi_hub.accounts.rows import CredentialRow
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.errors import Invalid
from kqi_hub.vault import Vault
from kqi_spawner.workload import Registry, Secret

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
# `last_used_at` is for people: written at most this often, so that use stays cheap.
_USE_STEP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAccess:
    """What git is to say to exactly this host (`host` or `host:port`), by HTTPS."""

    host: str
    username: str
    secret: Secret


@dataclass(slots=True, kw_only=True)
class Credentials:
    database: Database
    vault: Vault

    async def git(self, person: int, url: str) -> GitAccess | None:
        """Return what the person has for the host of this address; None without one, or where it is not HTTPS."""
        host = https_host(url)
        if host is None:
            return None
        async with self.database.read() as session:
            query = _of(person, CredentialKind.GIT).where(CredentialRow.server == host)
            row = (await session.execute(query)).scalar_one_or_none()
        if row is None:
            return None
        await self._used([row])
        return GitAccess(host=host, username=row.username, secret=self.vault.open(row.secret))

    async def registries(self, person: int) -> tuple[Registry, ...]:
        async with self.database.read() as session:
            query = _of(person, CredentialKind.REGISTRY).order_by(CredentialRow.server)
            rows = list((await session.execute(query)).scalars())
        return tuple(
            Registry(server=row.server, username=row.username, password=self.vault.open(row.secret)) for row in rows
        )

    async def _used(self, rows: list[CredentialRow]) -> None:
        at = now()
        stale = [row.id for row in rows if row.last_used_at is None or at - row.last_used_at > _USE_STEP]
        if stale:
            async with self.database.write() as session:
                await session.execute(update(CredentialRow).where(CredentialRow.id.in_(stale)).values(last_used_at=at))


async def of_person(session: AsyncSession, person: int) -> list[CredentialRow]:
    query = select(CredentialRow).where(CredentialRow.person_id == person)
    return list((await session.execute(query.order_by(CredentialRow.kind, CredentialRow.server))).scalars())


async def known(session: AsyncSession, person: int, kind: CredentialKind, server: str) -> CredentialRow | None:
    query = _of(person, kind).where(CredentialRow.server == server)
    return (await session.execute(query)).scalar_one_or_none()


def server_of(text: str) -> str:
    """Return `host` or `host:port` of what people write for a server. Raises Invalid."""
    plain = text.strip()
    if plain.lower().startswith("http://"):
        raise Invalid("credential_plain_http")
    found = https_host(plain if "://" in plain else f"https://{plain}")
    if found is None:
        raise Invalid("credential_server_not_valid", server=text[:100])
    return found


def https_host(url: str) -> str | None:
    """Return `host` or `host:port` of an address of HTTPS, None for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    if parts.scheme != "https" or not _HOST.fullmatch(host):
        return None
    return host if port in {None, 443} else f"{host}:{port}"


def _of(person: int, kind: CredentialKind) -> Select[CredentialRow]:
    return select(CredentialRow).where(CredentialRow.person_id == person, CredentialRow.kind == kind.value)
