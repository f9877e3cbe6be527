"""Routes of the audit log."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Response
from starlette.responses import StreamingResponse

from kqi import schema
from kqi_hub.administration.desk import Desk
from kqi_hub.audit import log, search
from kqi_hub.audit.search import Search
from kqi_hub.audit.verify import verify
from kqi_hub.db.engine import Database
from kqi_hub.identity.policy import Permission
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.paging import Cursor, Limit, number_after, page
from kqi_hub.web.routes import Routes

routes = Routes("audit")
Feature = Annotated[Desk, feature(Desk)]


def _search(query: Annotated[Search, Query()]) -> Search:
    return query


Wanted = Annotated[Search, Depends(_search)]


@routes.get("/admin/audit", permission=Permission.AUDIT_READ)
async def list_audit(
    call: Caller, wanted: Wanted, limit: Limit = 100, cursor: Cursor = None
) -> schema.Page[schema.AuditEntry]:
    """List entries, newest first. `action` and `object` may end with `*`."""
    rows = await search.page(call.session, wanted, before=number_after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, _entry)


@routes.get(
    "/admin/audit/export",
    permission=Permission.AUDIT_READ,
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One entry a line, oldest first"}},
)
async def export_audit(call: Caller, wanted: Wanted) -> Response:
    """Stream all entries as lines of JSON, oldest first."""
    asked = wanted.model_dump(mode="json", exclude_none=True)
    async with call.platform.database.write() as session:
        await log.append(session, call.entry("audit.export", "audit", details=log.written(asked)))
    return StreamingResponse(_lines(call.platform.database, wanted), media_type="application/x-ndjson")


@routes.get("/admin/audit/verify", permission=Permission.AUDIT_READ)
async def verify_audit(call: Caller, desk: Feature) -> schema.AuditCheck:
    """Look at the whole log for entries that were changed, taken out or cut off."""
    found = await verify(call.session, desk.keeper)
    faults = [
        schema.AuditFault(damage=fault.damage.value, first=fault.first, last=fault.last) for fault in found.faults
    ]
    return schema.AuditCheck(
        whole=not faults,
        entries=found.entries,
        first=found.first,
        last=found.last,
        sealed=found.sealed,
        faults=faults,
    )


async def _lines(database: Database, wanted: Search) -> AsyncIterator[bytes]:
    async for rows in search.all_of(database, wanted):
        yield b"".join(_entry(row).model_dump_json().encode() + b"\n" for row in rows)


def _entry(row: log.AuditRow) -> schema.AuditEntry:
    return schema.AuditEntry(
        id=row.id,
        at=row.at,
        person=row.person,
        person_id=row.person_id,
        tenant=row.tenant,
        token=row.token_id,
        address=row.address,
        action=row.action,
        object=row.object,
        refused=row.refused,
        details=json.loads(row.details),
        hash=row.hash,
    )
