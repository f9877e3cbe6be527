"""Tokens for programs: made once, stored as a hash, looked up in one indexed query."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import DeviceRow, PersonRow, TokenRow
from kqi_hub.ids import opaque
from kqi_spawner.workload import Secret

PREFIX = "kqi_"
# `last_used_at` is for people; written at most this often, so that reads stay reads.
_USE_STEP = timedelta(minutes=5)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """To what a token is to be narrowed: None leaves all."""

    tenant: int | None = None
    capabilities: frozenset[Permission] | None = None
    until: datetime | None = None


async def create(
    session: AsyncSession, person: int, name: str, *, lasts: timedelta, to: Narrowed = Narrowed()
) -> tuple[Secret, TokenRow]:
    """Make a token of `person`; its text is in the answer and nowhere else."""
    text = PREFIX + opaque(32)
    left = None if to.capabilities is None else json.dumps(sorted(to.capabilities))
    row = TokenRow(
        person_id=person,
        name=name,
        hash=digest(text),
        created_at=now(),
        expires_at=min(now() + lasts, to.until) if to.until else now() + lasts,
        tenant_id=to.tenant,
        capabilities=left,
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

    def allow(self, session: AsyncSession, bearer: Bearer) -> None:
        """Make the token of a run valid until `end_of_run`; in the transaction that admits it."""
        hashed = digest(self.text(bearer.run_key, bearer.attempt).reveal())
        row = TokenRow(person_id=bearer.person, name=f"run {bearer.run_key}", hash=hashed, created_at=now())
        row.tenant_id, row.run_key = bearer.tenant, bearer.run_key
        session.add(row)


async def end_of_run(session: AsyncSession, run_key: int) -> None:
    await session.execute(delete(TokenRow).where(TokenRow.run_key == run_key))


async def find(session: AsyncSession, text: str) -> tuple[TokenRow, PersonRow] | None:
    """Return the token and its person, also one that has `ended`: it is good for nothing, but tells who came."""
    query = select(TokenRow, PersonRow).join(PersonRow, PersonRow.id == TokenRow.person_id)
    found = (await session.execute(query.where(TokenRow.hash == digest(text)))).one_or_none()
    return None if found is None else (found[0], found[1])


def ended(row: TokenRow, at: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= at


async def holders(session: AsyncSession, such: ColumnElement[bool]) -> set[int]:
    """Return who of such people has a token that has not ended, or a sign-in of a program that waits."""
    people = select(PersonRow.id).where(such)
    alive = TokenRow.expires_at.is_(None) | (TokenRow.expires_at > now())
    tokens = await session.scalars(select(TokenRow.person_id).where(TokenRow.person_id.in_(people), alive))
    waiting = await session.scalars(select(DeviceRow.person_id).where(DeviceRow.person_id.in_(people)))
    return {person for person in [*tokens, *waiting] if person is not None}


async def end_all(session: AsyncSession, person: int) -> int:
    """End every token of a person, those of their runs and the sign-ins that wait, too; return how many ended.

    They stay listed: whoever comes with one is told why it is good for nothing any more.
    """
    at = now()
    alive = (TokenRow.person_id == person) & (TokenRow.expires_at.is_(None) | (TokenRow.expires_at > at))
    done = await session.execute(
        update(TokenRow).where(alive).values(expires_at=at).execution_options(synchronize_session=False)
    )
    await session.execute(delete(DeviceRow).where(DeviceRow.person_id == person))
    return int(done.rowcount)  # type: ignore[attr-defined]


def stale(row: TokenRow, at: datetime) -> bool:
    """Return whether `last_used_at` is worth writing again."""
    return row.last_used_at is None or at - row.last_used_at > _USE_STEP


async def used(session: AsyncSession, token: int, at: datetime, address: str) -> None:
    seen = {"last_used_at": at, "last_used_from": address[:64]}
    await session.execute(update(TokenRow).where(TokenRow.id == token).values(**seen))
