"""Tokens for programs: made once, stored as a hash, looked up in one indexed query."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.identity.rows import PersonRow, TokenRow
from kqi_hub.ids import opaque
from kqi_spawner.workload import Secret

PREFIX = "kqi_"
# `last_used_at` is for people; written at most this often, so that reads stay reads.
_USE_STEP = timedelta(minutes=5)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def create(session: AsyncSession, person: int, name: str, *, lasts: timedelta) -> tuple[Secret, TokenRow]:
    """Make a token of `person`; its text is in the answer and nowhere else."""
    text = PREFIX + opaque(32)
    row = TokenRow(
        person_id=person, name=name, hash=digest(text), created_at=now(), expires_at=now() + lasts, tenant_id=None
    )
    session.add(row)
    await session.flush()
    return Secret(text), row


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whose token it is: an attempt of a run, with the rights of its person in its tenant."""

    person: int
    tenant: int
    run_key: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTokens:
    """Tokens of runs are derived, not drawn: preparing a run again after a crash gives the same one."""

    key: Secret

    def text(self, run_key: int, attempt: int) -> Secret:
        message = f"{run_key}:{attempt}".encode()
        return Secret(PREFIX + "r" + hmac.new(self.key.reveal().encode(), message, hashlib.sha256).hexdigest())

    async def allow(self, session: AsyncSession, bearer: Bearer) -> None:
        """Make the token of a run valid until `end_of_run`; in the transaction that admits it."""
        hashed = digest(self.text(bearer.run_key, bearer.attempt).reveal())
        row = TokenRow(person_id=bearer.person, name=f"run {bearer.run_key}", hash=hashed, created_at=now())
        row.tenant_id, row.run_key = bearer.tenant, bearer.run_key
        session.add(row)
        await session.flush()


async def end_of_run(session: AsyncSession, run_key: int) -> None:
    await session.execute(delete(TokenRow).where(TokenRow.run_key == run_key))


async def find(session: AsyncSession, text: str, at: datetime) -> tuple[TokenRow, PersonRow] | None:
    """Return the token and its person if it is valid at `at`."""
    query = (
        select(TokenRow, PersonRow)
        .join(PersonRow, PersonRow.id == TokenRow.person_id)
        .where(TokenRow.hash == digest(text), PersonRow.disabled.is_(False))
    )
    found = (await session.execute(query)).one_or_none()
    if found is None or (found[0].expires_at is not None and found[0].expires_at <= at):
        return None
    return found[0], found[1]


def stale(row: TokenRow, at: datetime) -> bool:
    """Return whether `last_used_at` is worth writing again."""
    return row.last_used_at is None or at - row.last_used_at > _USE_STEP


async def used(session: AsyncSession, token: int, at: datetime) -> None:
    await session.execute(update(TokenRow).where(TokenRow.id == token).values(last_used_at=at))
