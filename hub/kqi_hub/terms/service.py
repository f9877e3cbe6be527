"""Publish terms, accept them, and tell whom they keep out."""

import json
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit import log as audit
from kqi_hub.clock import now
from kqi_hub.errors import Conflict, NotFound
from kqi_hub.identity.rows import TokenRow
from kqi_hub.terms.rows import AcceptanceRow, TermsRow


async def current(session: AsyncSession) -> TermsRow | None:
    """Return the version in force, None where there are no terms."""
    return (await session.execute(select(TermsRow).order_by(TermsRow.version.desc()).limit(1))).scalar_one_or_none()


async def numbered(session: AsyncSession, version: int) -> TermsRow:
    row = await session.get(TermsRow, version)
    if row is None:
        raise NotFound("terms", version)
    return row


async def publish(session: AsyncSession, texts: Mapping[str, str], by: str) -> TermsRow:
    """Put a next version in force."""
    last = await current(session)
    row = TermsRow(version=last.version + 1 if last else 1, texts=json.dumps(dict(texts), ensure_ascii=False))
    row.published_at, row.published_by = now(), by
    session.add(row)
    await session.flush()
    return row


async def accept(session: AsyncSession, entry: audit.Entry, version: int) -> None:
    """Record that the person of `entry` accepts `version`, which must be the one in force. Idempotent."""
    wanted = await current(session)
    if entry.person is None or wanted is None or wanted.version != version:
        raise Conflict("terms_not_current", version=wanted.version if wanted else 0)
    if await session.get(AcceptanceRow, (entry.person, version)) is None:
        row = AcceptanceRow(person_id=entry.person, version=version, at=now(), address=entry.address[:64])
        session.add(row)
        await audit.append(session, entry)


async def accepted(session: AsyncSession, person: int) -> int:
    """Return the newest version that the person has accepted, 0 for none."""
    query = select(func.max(AcceptanceRow.version)).where(AcceptanceRow.person_id == person)
    return (await session.execute(query)).scalar_one() or 0


async def keeps_out(session: AsyncSession, person: int, token: TokenRow | None = None) -> int:
    """Return the version that the person must accept before this request, 0 if nothing is in its way.

    Work that was under way when a version came goes on: tokens of runs, and tokens made before it by who had
    accepted the one before.
    """
    accepts = select(func.max(AcceptanceRow.version)).where(AcceptanceRow.person_id == person).scalar_subquery()
    query = select(TermsRow.version, TermsRow.published_at, accepts).order_by(TermsRow.version.desc()).limit(1)
    newest = (await session.execute(query)).one_or_none()  # without the texts, which may be long
    if newest is None:
        return 0
    latest = newest[2] or 0
    if latest == newest.version:
        return 0
    before = token is not None and token.created_at <= newest.published_at
    running = token is not None and token.run_key is not None
    goes_on = (running and (before or latest > 0)) or (before and latest > 0)
    return 0 if goes_on else newest.version


def text_of(row: TermsRow, language: str) -> str:
    """Return the text in this language, else in English, else in any."""
    texts: dict[str, str] = json.loads(row.texts)
    return texts.get(language) or texts.get("en") or next(iter(texts.values()))
