"""Routes of the terms of service."""

import json
from typing import Annotated

from fastapi import Path
from sqlalchemy import func, select

from kqi import schema
from kqi_hub.errors import NotFound
from kqi_hub.identity.policy import Permission
from kqi_hub.terms import service as terms
from kqi_hub.terms.rows import AcceptanceRow, TermsRow
from kqi_hub.web.call import Call, Caller
from kqi_hub.web.routes import Routes

routes = Routes("account", before_terms=True)


@routes.get("/terms", permission=Permission.SIGNED_IN)
async def get_terms(call: Caller) -> schema.Terms:
    """Read the terms that are in force, in one's language."""
    row = await terms.current(call.session)
    if row is None:
        raise NotFound("terms", "current")
    accepted = await terms.accepted(call.session, call.person.person) == row.version
    return _shown(call, row, accepted=accepted)


@routes.post("/terms/accept", permission=Permission.ACCOUNT_MANAGE)
async def accept_terms(call: Caller, body: schema.AcceptTerms) -> schema.Terms:
    """Accept the version in force; it is named, so that nobody accepts what they have not read."""
    accepting = call.entry("terms.accept", f"terms/{body.version}")
    await terms.accept(call.session, accepting, body.version)
    return _shown(call, await terms.numbered(call.session, body.version), accepted=True)


@routes.post("/terms", permission=Permission.PLATFORM, status=201)
async def publish_terms(call: Caller, body: schema.TermsTexts) -> schema.PublishedTerms:
    """Put a new version in force, which everybody is then asked to accept."""
    row = await terms.publish(call.session, body.model_dump(), call.person.name)
    await call.note("terms.publish", f"terms/{row.version}")
    return await _published(call, row)


@routes.get("/terms/{version}", permission=Permission.PLATFORM)
async def get_terms_version(call: Caller, version: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> schema.PublishedTerms:
    return await _published(call, await terms.numbered(call.session, version))


def _shown(call: Call, row: TermsRow, *, accepted: bool) -> schema.Terms:
    text = terms.text_of(row, call.language)
    return schema.Terms(version=row.version, text=text, published_at=row.published_at, accepted=accepted)


async def _published(call: Call, row: TermsRow) -> schema.PublishedTerms:
    query = select(func.count()).select_from(AcceptanceRow).where(AcceptanceRow.version == row.version)
    return schema.PublishedTerms(
        version=row.version,
        texts=json.loads(row.texts),
        published_at=row.published_at,
        published_by=row.published_by,
        accepted=(await call.session.execute(query)).scalar_one(),
    )
