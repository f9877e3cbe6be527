"""Routes of the erasing of tenants."""

import json
from typing import Annotated

from fastapi import Path

from kqi import schema
from kqi_hub.identity.policy import Permission
from kqi_hub.tenants import erasure, store
from kqi_hub.tenants.erasure import Eraser
from kqi_hub.tenants.rows import ErasureRow
from kqi_hub.tenants.service import TenantService
from kqi_hub.web import paging
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes

routes = Routes("tenants")


@routes.post("/tenants/{tenant}/erase", permission=Permission.TENANTS_MANAGE, status=202)
async def erase_tenant(
    call: Caller,
    tenant: Annotated[str, Path(max_length=63)],
    body: schema.EraseTenant,
    tenants: Annotated[TenantService, feature(TenantService)],
    eraser: Annotated[Eraser, feature(Eraser)],
) -> schema.Erasure:
    """Erase an archived tenant with all its data, in the background; there is no way back."""
    row = await erasure.begin(call.act, tenants, tenant, body.name)
    call.after.append(eraser.wake)
    return (await _shown(call, [row]))[0]


@routes.get("/erasures", permission=Permission.TENANTS_MANAGE)
async def list_erasures(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> schema.Page[schema.Erasure]:
    """List what was erased, newest first."""
    rows = await erasure.page(call.session, before=paging.number_after(cursor), limit=limit + 1)
    shown = {item.id: item for item in await _shown(call, list(rows[:limit]))}
    return paging.page(rows, limit, lambda row: row.id, lambda row: shown[row.id])


@routes.get("/erasures/{erasure_id}", permission=Permission.TENANTS_MANAGE)
async def get_erasure(call: Caller, erasure_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> schema.Erasure:
    """Read the report: what was removed, and whether it is done."""
    return (await _shown(call, [await erasure.one(call.session, erasure_id)]))[0]


async def _shown(call: Call, rows: list[ErasureRow]) -> list[schema.Erasure]:
    names = await store.names(call.session, {row.asked_by for row in rows if row.asked_by})
    return [
        schema.Erasure(
            id=row.id,
            tenant=row.tenant,
            asked_by=names.get(row.asked_by or 0),
            asked_at=row.asked_at,
            finished_at=row.finished_at,
            counts=json.loads(row.counts),
        )
        for row in rows
    ]
