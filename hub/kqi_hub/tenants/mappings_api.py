"""Routes of the mappings of a directory's groups, and of the sync of all its people."""

from typing import Annotated

from fastapi import Path
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi import schema
from kqi_hub.directory.mapping import Kind
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import MappingRow, TenantRow
from kqi_hub.tenants import sync
from kqi_hub.tenants.service import TenantService
from kqi_hub.tenants.sync import Difference, Sync
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.routes import Routes

routes = Routes("mappings")
Syncing = Annotated[Sync, feature(Sync)]
MappingId = Annotated[int, Path(ge=1, le=2**53 - 1)]


@routes.get("/mappings", permission=Permission.PLATFORM)
async def list_mappings(call: Caller) -> schema.Page[schema.Mapping]:
    return schema.Page(items=[_mapping(row, tenant) for row, tenant in await sync.mappings(call.session)])


@routes.post("/mappings", permission=Permission.PLATFORM, status=201)
async def create_mapping(call: Caller, body: schema.CreateMapping) -> schema.Mapping:
    """Say what being in a group, or in a unit, of the directory gives. It holds from everybody's next sign-in on."""
    row = await sync.add(call.act, kind=Kind(body.kind), value=body.value, tenant=body.tenant, role=body.role)
    return _mapping(row, body.tenant)


@routes.delete("/mappings/{mapping_id}", permission=Permission.PLATFORM)
async def delete_mapping(call: Caller, mapping_id: MappingId) -> None:
    await sync.remove(call.act, mapping_id)


@routes.post("/mappings/preview", permission=Permission.PLATFORM)
async def preview_sync(call: Caller, syncing: Syncing) -> schema.SyncPreview:
    """Show what the directory would change for all its people; nothing is changed."""
    entries = await syncing.ask()
    # However many they are, no writer waits for who only looks.
    async with call.platform.database.read() as session:
        return await _preview(session, await sync.difference(session, entries))


@routes.post("/mappings/apply", permission=Permission.PLATFORM)
async def apply_sync(
    call: Caller, body: schema.ApplySync, syncing: Syncing, tenants: Annotated[TenantService, feature(TenantService)]
) -> schema.SyncPreview:
    """Do what a preview has shown; refused if it is no longer what would change."""
    entries = await syncing.ask()
    done = await sync.carry_out(call.act, entries, body.digest, tenants.default)
    return await _preview(call.session, done)


async def _preview(session: AsyncSession, found: Difference) -> schema.SyncPreview:
    ids = {change.tenant for _, change in found.changes if change.tenant is not None}
    rows = await session.execute(select(TenantRow.id, TenantRow.name).where(TenantRow.id.in_(ids)))
    names: dict[int | None, str | None] = {key: name for key, name in rows}
    return schema.SyncPreview(
        digest=found.digest,
        people=found.people,
        changes=[
            schema.SyncChange(person=name, tenant=names.get(one.tenant), before=one.before, after=one.after)
            for name, one in found.changes
        ],
        gone=list(found.gone),
    )


def _mapping(row: MappingRow, tenant: str | None) -> schema.Mapping:
    return schema.Mapping(id=row.id, kind=Kind(row.kind).value, value=row.value, tenant=tenant, role=row.role)
