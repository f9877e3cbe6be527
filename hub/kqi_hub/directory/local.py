"""Local accounts: argon2id hashes in our own database, with lock-out after too many wrong passwords."""

import asyncio
import math
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.identity.rows import LocalAccountRow, MembershipRow, PersonRow, TenantRow
from kqi_hub.settings import SignIn
from kqi_spawner.workload import Secret

# Longer texts only burn processor time in the hash.
_MAX_BYTES = 1024
_HASHER = PasswordHasher()
# Verified in place of the hash of a person who does not exist, so that both take the same time.
_NOBODY = _HASHER.hash("nobody")


class LocalDirectory:
    """A `Directory` over local accounts."""

    def __init__(self, database: Database, rules: SignIn) -> None:
        self._database = database
        self._rules = rules
        # Each verification takes 64 MiB and a core for some 50 ms: a storm must not take all of them.
        self._hashing = asyncio.Semaphore(2)

    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        async with self._database.read() as session:
            account = await _account(session, name)
        right = await self._matches(account.password_hash if account else _NOBODY, password)
        if account is None:
            return Refused(why=Refusal.WRONG)
        locked = await self._record(account.person_id, right=right)
        if locked:
            return Refused(why=Refusal.LOCKED, retry_after_s=locked)
        if not right:
            return Refused(why=Refusal.WRONG)
        async with self._database.read() as session:
            person = await session.get_one(PersonRow, account.person_id)
            if person.disabled:
                return Refused(why=Refusal.DISABLED)
            return await _entry(session, person, must_change=account.must_change)

    async def look_up(self, name: str) -> Entry | None:
        async with self._database.read() as session:
            account = await _account(session, name)
            if account is None:
                return None
            person = await session.get_one(PersonRow, account.person_id)
            return None if person.disabled else await _entry(session, person, must_change=account.must_change)

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        checked = await self.verify(name, old)
        if isinstance(checked, Refused):
            return PasswordFault.LOCKED if checked.why is Refusal.LOCKED else PasswordFault.WRONG_OLD
        fault = password_fault(new, self._rules) or (PasswordFault.SAME if new.reveal() == old.reveal() else None)
        if fault:
            return fault
        async with self._database.write() as session:
            account = await _account(session, name)
            if account is None:
                return PasswordFault.WRONG_OLD
            await set_password(session, account.person_id, new, must_change=False)
        return None

    async def _matches(self, password_hash: str, password: Secret) -> bool:
        if not 0 < len(password.reveal().encode("utf-8", "surrogatepass")) <= _MAX_BYTES:
            password = Secret("x")  # still hashed, for the time it takes
            password_hash = _NOBODY
        async with self._hashing:
            return await asyncio.to_thread(_verify, password_hash, password)

    async def _record(self, person: int, *, right: bool) -> int:
        """Count a failure or clear the count; return for how many seconds the account is locked, 0 if it is not."""
        async with self._database.write() as session:
            account = await session.get(LocalAccountRow, person)
            if account is None:
                return 0
            if account.locked_until and account.locked_until > now():
                return math.ceil((account.locked_until - now()).total_seconds())
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
    values = {"password_hash": hashed, "must_change": must_change, "failures": 0, "locked_until": None}
    if await session.get(LocalAccountRow, person) is None:
        session.add(LocalAccountRow(person_id=person, **values))
    else:
        await session.execute(update(LocalAccountRow).where(LocalAccountRow.person_id == person).values(**values))
    await session.flush()


async def _account(session: AsyncSession, name: str) -> LocalAccountRow | None:
    query = select(LocalAccountRow).join(PersonRow, PersonRow.id == LocalAccountRow.person_id)
    return (await session.execute(query.where(PersonRow.name == name))).scalar_one_or_none()


async def _entry(session: AsyncSession, person: PersonRow, *, must_change: bool) -> Entry:
    query = select(TenantRow.name).join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
    groups = (await session.execute(query.where(MembershipRow.person_id == person.id))).scalars().all()
    return Entry(
        name=person.name,
        display_name=person.display_name,
        administrator=person.administrator,
        groups=tuple(sorted(groups)),
        must_change=must_change,
    )


def _verify(password_hash: str, password: Secret) -> bool:
    try:
        return _HASHER.verify(password_hash, password.reveal().encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
