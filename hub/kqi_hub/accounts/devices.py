"""Sign a program in by a person's approval in the browser (RFC 8628)."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.errors import Invalid, NotFound, TooMany
from kqi_hub.identity import tokens
from kqi_hub.identity.address import network_address
from kqi_hub.identity.rows import DeviceRow, TokenRow
from kqi_hub.ids import opaque
from kqi_spawner.workload import Secret

LIFE_S = 600
INTERVAL_S = 2
TOKEN_LIFE = timedelta(days=30)
# Without sign-in anybody can begin one: bounds on how many wait, of one network address and of all.
MOST_OF_ADDRESS = 100
_MOST = 10_000
# No vowels, so no words; none of the letters that look like digits (RFC 8628 section 6.1).
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass(frozen=True, slots=True)
class Begun:
    device_code: Secret
    user_code: str


async def begin(session: AsyncSession, client: str, address: str) -> Begun:
    """Return the codes of a new sign-in. Raises TooMany when as many wait that were begun from this address."""
    await session.execute(delete(DeviceRow).where(DeviceRow.expires_at < now()))
    network = network_address("", address)
    waiting = select(func.count()).select_from(DeviceRow)
    of_address = (await session.execute(waiting.where(DeviceRow.address == network))).scalar_one()
    if of_address >= MOST_OF_ADDRESS or (await session.execute(waiting)).scalar_one() >= _MOST:
        raise TooMany("too_many_attempts", retry_after_s=60)
    code = opaque(32)
    user_code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))
    row = DeviceRow(code_hash=tokens.digest(code), user_code=user_code, client=client, address=network, denied=False)
    row.expires_at = now() + timedelta(seconds=LIFE_S)
    session.add(row)
    await session.flush()
    return Begun(Secret(code), user_code)


async def waiting(session: AsyncSession, user_code: str) -> DeviceRow:
    """Return the sign-in that shows this code. Raises NotFound, also for one that was answered already."""
    plain = user_code.strip().upper()
    query = select(DeviceRow).where(DeviceRow.user_code == plain, DeviceRow.expires_at > now())
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None or row.person_id is not None or row.denied:
        raise NotFound("code", plain[:20])
    return row


async def answer(session: AsyncSession, user_code: str, person: int, *, approved: bool) -> None:
    row = await waiting(session, user_code)
    row.person_id, row.denied = (person, False) if approved else (None, True)
    await session.flush()


async def redeem(session: AsyncSession, device_code: str) -> tuple[Secret, TokenRow]:
    """Return the token once, when the person has approved. Raises Invalid with the code of RFC 8628 section 3.5."""
    query = select(DeviceRow).where(DeviceRow.code_hash == tokens.digest(device_code))
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None or row.expires_at <= now():
        raise Invalid("expired_token")
    if row.denied:
        raise Invalid("access_denied")
    if row.person_id is None:
        raise Invalid("authorization_pending")
    made = await tokens.create(session, row.person_id, row.client, lasts=TOKEN_LIFE)
    await session.delete(row)
    return made
