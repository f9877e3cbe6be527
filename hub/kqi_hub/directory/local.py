"""Local accounts: argon2id hashes in our own database, with lock-out after too many wrong passwords."""

import asyncio
import math
from dataclasses import replace
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.identity.rows import FormerPasswordRow, LocalAccountRow, PersonRow
from kqi_hub.settings_people import SignIn
from kqi_spawner.workload import Secret

# Longer texts only burn processor time in the hash.
_MAX_BYTES = 1024
_FORMER = 24
_HASHER = PasswordHasher()


# Verified in place of the hash of a person who does not exist, so that both take the same time.
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$PrHSEh8jnKd/T0iBgUEjPA$4r4RlKnUwiySKbj7phe+8fNYVJ9aO4YGOg4KAWCN8CQ"


class LocalDirectory:
    """A `Directory` over local accounts."""

    def __init__(self, database: Database, rules: SignIn) -> None:
        self._database = database
        self._rules = rules
        # Each verification takes 64 MiB and a core for some 50 ms: a storm must not take all of them.
        self._hashing = asyncio.Semaphore(2)

    async def names(self) -> frozenset[str]:
        """Return the names of all local accounts."""
        query = select(PersonRow.name).join(LocalAccountRow, LocalAccountRow.person_id == PersonRow.id)
        async with self._database.read() as session:
            return frozenset((await session.execute(query)).scalars())

    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        checked = await self._checked(name, password)
        if isinstance(checked, Refused):
            return checked
        account, person = checked
        if not account.must_change and self._expired(account):
            return await self._with_grace(person)
        return self._entry(account, person)

    async def _checked(self, name: str, password: Secret) -> tuple[LocalAccountRow, PersonRow] | Refused:
        async with self._database.read() as session:
            account = await _account(session, name)
        if account is not None and _locked_s(account):
            return Refused(why=Refusal.LOCKED, retry_after_s=_locked_s(account))
        right = await self._matches(account.password_hash if account else None, password)
        if account is None:
            return Refused(why=Refusal.WRONG)
        locked = await self._record(account.person_id, right=right)
        if locked:
            return Refused(why=Refusal.LOCKED, retry_after_s=locked)
        if not right:
            return Refused(why=Refusal.WRONG)
        async with self._database.read() as session:
            person = await session.get_one(PersonRow, account.person_id)
            return Refused(why=Refusal.DISABLED) if person.disabled else (account, person)

    async def _with_grace(self, person: PersonRow) -> Entry:
        """Let somebody in with a password that has expired, a few times; then they have to change it first."""
        async with self._database.write() as session:
            account = await session.get_one(LocalAccountRow, person.id)
            left = self._rules.password_grace - account.grace_used
            if left > 0:
                account.grace_used += 1
            return replace(self._entry(account, person), must_change=left <= 0, grace_left=max(0, left - 1))

    def _expires_at(self, account: LocalAccountRow) -> datetime | None:
        days = self._rules.password_max_age_days
        return account.changed_at + timedelta(days=days) if days and account.changed_at else None

    def _expired(self, account: LocalAccountRow) -> bool:
        at = self._expires_at(account)
        return at is not None and at <= now()

    def _entry(self, account: LocalAccountRow, person: PersonRow) -> Entry:
        at = self._expires_at(account)
        soon = at is not None and now() < at <= now() + timedelta(days=self._rules.password_warn_days)
        return Entry(
            name=person.name,
            display_name=person.display_name,
            email=person.email,
            must_change=account.must_change,
            expires_at=at if soon else None,
        )

    async def look_up(self, name: str) -> Entry | None:
        async with self._database.read() as session:
            account = await _account(session, name)
            if account is None:
                return None
            person = await session.get_one(PersonRow, account.person_id)
            return None if person.disabled else self._entry(account, person)

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        checked = await self._checked(name, old)
        if isinstance(checked, Refused):
            return PasswordFault.LOCKED if checked.why is Refusal.LOCKED else PasswordFault.WRONG_OLD
        account, _ = checked
        fault = password_fault(new, self._rules) or (PasswordFault.SAME if new.reveal() == old.reveal() else None)
        fault = fault or self._too_soon(account) or await self._in_history(account.person_id, new)
        if fault:
            return fault
        async with self._database.write() as session:
            if await session.get(LocalAccountRow, account.person_id) is None:  # deleted meanwhile
                return PasswordFault.WRONG_OLD
            await set_password(session, account.person_id, new, must_change=False)
        return None

    def close(self) -> None:
        """The database is its owner's."""

    def _too_soon(self, account: LocalAccountRow) -> PasswordFault | None:
        least = timedelta(days=self._rules.password_min_age_days)
        young = account.changed_at is not None and account.changed_at + least > now()
        return PasswordFault.TOO_SOON if young and not account.must_change else None

    async def _in_history(self, person: int, new: Secret) -> PasswordFault | None:
        query = select(FormerPasswordRow.password_hash).where(FormerPasswordRow.person_id == person)
        query = query.order_by(FormerPasswordRow.id.desc()).limit(self._rules.password_history)
        async with self._database.read() as session:
            former = list(await session.scalars(query))
        for one in former:
            if await self._matches(one, new):
                return PasswordFault.IN_HISTORY
        return None

    async def _matches(self, password_hash: str | None, password: Secret) -> bool:
        if not 0 < len(password.reveal().encode("utf-8", "surrogatepass")) <= _MAX_BYTES:
            password = Secret("x")  # still hashed, for the time it takes
            password_hash = None
        async with self._hashing:
            return await asyncio.to_thread(_verify, password_hash or NOBODY, password)

    async def _record(self, person: int, *, right: bool) -> int:
        """Count a failure or clear the count; return for how many seconds the account is locked, 0 if it is not."""
        async with self._database.write() as session:
            account = await session.get(LocalAccountRow, person)
            if account is None:
                return 0
            if _locked_s(account):
                return _locked_s(account)
            if right:
                if account.failures or account.locked_until:
                    account.failures, account.locked_until = 0, None
                return 0
            account.failures += 1
            if account.failures >= self._rules.attempts:
                account.failures, account.locked_until = 0, now() + timedelta(seconds=self._rules.lock_s)
            return 0


def password_fault(new: Secret, rules: SignIn) -> PasswordFault | None:
    """Return what is wrong with a new password in itself."""
    if len(new.reveal()) < rules.password_min_length:
        return PasswordFault.TOO_SHORT
    return PasswordFault.TOO_LONG if len(new.reveal().encode("utf-8", "surrogatepass")) > _MAX_BYTES else None


async def set_password(session: AsyncSession, person: int, password: Secret, *, must_change: bool) -> None:
    """Set it, make the local account if there is none, and lift a lock."""
    hashed = await asyncio.to_thread(_HASHER.hash, password.reveal().encode("utf-8", "surrogatepass"))
    account = await session.get(LocalAccountRow, person)
    if account is None:
        session.add(LocalAccountRow(person_id=person, password_hash=hashed, must_change=must_change, changed_at=now()))
    else:
        await _remember(session, account)
        account.password_hash, account.must_change = hashed, must_change
        account.failures, account.locked_until = 0, None
        account.changed_at, account.grace_used = now(), 0
    await session.flush()


async def is_one_time(session: AsyncSession, name: str, password: Secret) -> bool:
    """Return whether this password opens the account, and only to be changed."""
    account = await _account(session, name)
    if account is None or not account.must_change:
        return False
    return await asyncio.to_thread(_verify, account.password_hash, password)


async def _remember(session: AsyncSession, account: LocalAccountRow) -> None:
    """Keep as many former passwords as a rule may ask for: a rule that comes later holds at once."""
    session.add(FormerPasswordRow(person_id=account.person_id, password_hash=account.password_hash))
    await session.flush()
    mine = FormerPasswordRow.person_id == account.person_id
    newest = select(FormerPasswordRow.id).where(mine).order_by(FormerPasswordRow.id.desc()).limit(_FORMER)
    await session.execute(delete(FormerPasswordRow).where(mine, FormerPasswordRow.id.not_in(newest)))


async def _account(session: AsyncSession, name: str) -> LocalAccountRow | None:
    query = select(LocalAccountRow).join(PersonRow, PersonRow.id == LocalAccountRow.person_id)
    return (await session.execute(query.where(PersonRow.name == name))).scalar_one_or_none()


def _locked_s(account: LocalAccountRow) -> int:
    """Return for how many seconds an account is locked, 0 if it is not."""
    return max(0, math.ceil((account.locked_until - now()).total_seconds())) if account.locked_until else 0


def _verify(password_hash: str, password: Secret) -> bool:
    try:
        return _HASHER.verify(password_hash, password.reveal().encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
