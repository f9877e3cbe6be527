"""Routes of one's tokens for programs."""

import json
from datetime import timedelta
from typing import Annotated

from fastapi import Path
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi import schema
from kqi_hub.accounts.narrowing import narrowed
from kqi_hub.errors import NotFound
from kqi_hub.identity import tokens
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import TenantRow, TokenRow
from kqi_hub.web.call import Caller
from kqi_hub.web.routes import Routes

routes = Routes("account")
Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


@routes.get("/tokens", permission=Permission.ACCOUNT_MANAGE)
async def list_tokens(call: Caller) -> schema.Page[schema.Token]:
    query = (
        select(TokenRow, TenantRow.name)
        .outerjoin(TenantRow, TenantRow.id == TokenRow.tenant_id)
        .where(TokenRow.person_id == call.person.person, TokenRow.run_key.is_(None))
    )
    rows = await call.session.execute(query.order_by(TokenRow.id.desc()).limit(1000))
    return schema.Page(items=[_shown(row, tenant) for row, tenant in rows])


@routes.post("/tokens", permission=Permission.ACCOUNT_MANAGE, status=201)
async def create_token(call: Caller, body: schema.CreateToken) -> schema.NewToken:
    """Make a token; its text is in this answer and nowhere else. A narrowed token makes none that may do more."""
    maker = await call.session.get(TokenRow, call.person.token) if call.person.token else None
    to, lasts = narrowed(call.person, maker, body), timedelta(days=body.days)
    secret, row = await tokens.create(call.session, call.person.person, body.name, lasts=lasts, to=to)
    info = await shown(call.session, row)
    await call.note("token.create", f"token/{row.id}", only_tenant=info.tenant, capabilities=info.capabilities)
    return schema.NewToken(token=secret.reveal(), info=info)


@routes.delete("/tokens/current", permission=Permission.SIGNED_IN)
async def revoke_current_token(call: Caller) -> None:
    """Revoke the token that this request came with, as a program does that signs out."""
    if call.person.token is None or call.person.run_key is not None:
        raise NotFound("token", "current")
    await call.session.execute(delete(TokenRow).where(TokenRow.id == call.person.token))
    await call.note("token.revoke", f"token/{call.person.token}")


@routes.delete("/tokens/{token_id}", permission=Permission.ACCOUNT_MANAGE)
async def revoke_token(call: Caller, token_id: Id) -> None:
    row = await call.session.get(TokenRow, token_id)
    if row is None or row.person_id != call.person.person or row.run_key is not None:
        raise NotFound("token", token_id)
    await call.session.delete(row)
    await call.note("token.revoke", f"token/{token_id}")


async def shown(session: AsyncSession, row: TokenRow) -> schema.Token:
    tenant = await session.get(TenantRow, row.tenant_id) if row.tenant_id else None
    return _shown(row, tenant.name if tenant else None)


def _shown(row: TokenRow, tenant: str | None) -> schema.Token:
    return schema.Token(
        id=row.id,
        name=row.name,
        tenant=tenant,
        capabilities=None if row.capabilities is None else json.loads(row.capabilities),
        created_at=row.created_at,
        expires_at=row.expires_at or row.created_at + timedelta(days=3650),
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
    )
