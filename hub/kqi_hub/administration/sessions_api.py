"""Routes of sessions: who is signed in, from where, and how that ends."""

from typing import Annotated

from fastapi import Path, Query
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi import schema
from kqi_hub.administration import people
from kqi_hub.administration.desk import Desk
from kqi_hub.administration.hub import HubSessionInfo
from kqi_hub.clock import now
from kqi_hub.errors import NotFound
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import BrowserSessionRow, PersonRow, TokenRow
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.routes import Routes

routes = Routes("sessions")
Feature = Annotated[Desk, feature(Desk)]
Name = Annotated[str, Path(max_length=64)]
_TOKEN = "token-"  # noqa: S105 - the beginning of a number
# A statement has a bounded number of values.
_AT_ONCE = 5_000


@routes.get("/admin/sessions", permission=Permission.PEOPLE_READ)
async def list_sessions(
    call: Caller, desk: Feature, person: Annotated[str | None, Query(max_length=64)] = None
) -> schema.Page[schema.BrowserSession]:
    """List browsers and programs that are signed in, of one person or of all."""
    browsers = await desk.hub.sessions(person)
    number = (await people.find(call.session, person)).id if person else None
    found = [*await _browsers(call.session, browsers), *await _programs(call.session, number)]
    return schema.Page(items=sorted(found, key=lambda item: item.used_at or item.began_at or now(), reverse=True))


@routes.delete("/admin/people/{name}/sessions", permission=Permission.PEOPLE_MANAGE, status=200)
async def end_sessions(call: Caller, desk: Feature, name: Name) -> schema.EndedSessions:
    """Sign a person out everywhere: browsers, and tokens of programs. Runs and servers go on."""
    async with call.platform.database.write() as session:
        row = await people.changeable(session, name, call.person)
        done = await session.execute(delete(TokenRow).where(TokenRow.person_id == row.id, TokenRow.run_key.is_(None)))
        ended: int = done.rowcount  # type: ignore[attr-defined]
        await call.acting(session).note("session.end_all", f"person/{name}", tokens=ended)
    # After the commit: the hub is asked outside of any transaction.
    return schema.EndedSessions(ended=ended + await desk.hub.end_sessions(name))


@routes.delete("/admin/people/{name}/sessions/{session_id}", permission=Permission.PEOPLE_MANAGE)
async def end_session(call: Caller, desk: Feature, name: Name, session_id: Annotated[str, Path(max_length=32)]) -> None:
    """End one session of a person."""
    async with call.platform.database.write() as session:
        row = await people.changeable(session, name, call.person)
        if session_id.startswith(_TOKEN):
            if not await _end_token(session, row, session_id):
                raise NotFound("session", session_id)
            await call.acting(session).note("session.end", f"person/{name}", session=session_id)
            return
    # The hub is asked outside of any transaction.
    if not await desk.hub.end_sessions(name, session_id):
        raise NotFound("session", session_id)
    async with call.platform.database.write() as session:
        await call.acting(session).note("session.end", f"person/{name}", session=session_id)


async def _end_token(session: AsyncSession, person: PersonRow, number: str) -> int:
    digits = number.removeprefix(_TOKEN)
    if not digits.isdecimal() or len(digits) > 15:
        return 0
    mine = (TokenRow.id == int(digits)) & (TokenRow.person_id == person.id) & TokenRow.run_key.is_(None)
    return int((await session.execute(delete(TokenRow).where(mine))).rowcount)  # type: ignore[attr-defined]


async def _browsers(session: AsyncSession, found: list[HubSessionInfo]) -> list[schema.BrowserSession]:
    numbers = [token for item in found for token in item.tokens]
    seen: dict[str, BrowserSessionRow] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        some = BrowserSessionRow.token.in_(numbers[start : start + _AT_ONCE])
        seen |= {row.token: row for row in await session.scalars(select(BrowserSessionRow).where(some))}
    shown = []
    for item in found:
        used = max((seen[token] for token in item.tokens if token in seen), key=lambda row: row.used_at, default=None)
        moments = [at for at in (item.used_at, used and used.used_at) if at]
        shown.append(
            schema.BrowserSession(
                id=item.id,
                kind="browser",
                person=item.person,
                name=used.agent if used else "",
                address=used.address if used else "",
                began_at=item.began_at,
                used_at=max(moments, default=None),
                expires_at=item.expires_at,
            )
        )
    return shown


async def _programs(session: AsyncSession, person: int | None) -> list[schema.BrowserSession]:
    alive = TokenRow.expires_at.is_(None) | (TokenRow.expires_at > now())
    query = select(TokenRow, PersonRow.name).join(PersonRow, PersonRow.id == TokenRow.person_id).where(alive)
    query = query.where(TokenRow.run_key.is_(None)).order_by(TokenRow.id.desc()).limit(10_000)
    if person is not None:
        query = query.where(TokenRow.person_id == person)
    return [
        schema.BrowserSession(
            id=f"{_TOKEN}{row.id}",
            kind="token",
            person=name,
            name=row.name,
            address=row.last_used_from or "",
            began_at=row.created_at,
            used_at=row.last_used_at,
            expires_at=row.expires_at,
        )
        for row, name in (await session.execute(query)).tuples()
    ]
