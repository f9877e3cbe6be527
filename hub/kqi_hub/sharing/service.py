"""Share a thing with a person or a tenant, and take that back."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.log import record
from kqi_hub.clock import now
from kqi_hub.db.scope import TenantScope
from kqi_hub.db.sharing import ShareRow
from kqi_hub.errors import Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.rows import PersonRow, TenantRow
from kqi_hub.sharing.things import Found

Named = tuple[ShareRow, str | None, str | None, str | None]
_MOST = 1000


async def share(scope: TenantScope, thing: Found, *, person: str | None, tenant: str | None, access: str) -> ShareRow:
    """Let a person, or the people of a tenant, read or change it; said again, the access is the new one."""
    scope.check_owner(thing.row, thing.shown)
    if (person is None) == (tenant is None):
        raise Invalid("share_one_of")
    person_id = await _person(scope.session, person)
    group_id = await _tenant(scope.session, tenant)
    known = select(ShareRow).where(ShareRow.kind == thing.kind, ShareRow.object_id == thing.key)
    known = known.where(ShareRow.person_id.is_not_distinct_from(person_id))
    row = (await scope.session.scalars(known.where(ShareRow.group_id.is_not_distinct_from(group_id)))).one_or_none()
    if row is None:
        row = ShareRow(tenant_id=thing.row.tenant_id, kind=thing.kind, object_id=thing.key)
        row.person_id, row.group_id, row.created_at, row.created_by = person_id, group_id, now(), scope.person
    row.access = access
    await scope.add(row)
    await record(scope, thing.row.tenant_id, "share.add", thing.shown, person=person, tenant=tenant, access=access)
    return row


async def unshare(scope: TenantScope, thing: Found, share_id: int) -> None:
    scope.check_owner(thing.row, thing.shown)
    row = await scope.session.get(ShareRow, share_id)
    if row is None or (row.kind, row.object_id) != (thing.kind, thing.key):
        raise NotFound("share", share_id)
    await scope.delete(row)
    gone = {"person_id": row.person_id, "tenant_id": row.group_id}
    await record(scope, thing.row.tenant_id, "share.remove", thing.shown, **gone)


async def shares(session: AsyncSession, thing: Found) -> Sequence[Named]:
    """Return shares, each with the names of person, tenant and sharer."""
    sharer = PersonRow.__table__.alias("sharer")
    query = (
        select(ShareRow, PersonRow.name, TenantRow.name, sharer.c.name)
        .outerjoin(PersonRow, PersonRow.id == ShareRow.person_id)
        .outerjoin(TenantRow, TenantRow.id == ShareRow.group_id)
        .outerjoin(sharer, sharer.c.id == ShareRow.created_by)
        .where(ShareRow.kind == thing.kind, ShareRow.object_id == thing.key)
    )
    return [(row, *names) for row, *names in await session.execute(query.order_by(ShareRow.id).limit(_MOST))]


async def _person(session: AsyncSession, name: str | None) -> int | None:
    if name is None:
        return None
    found = await people.person_named(session, name)
    if found is None:
        raise NotFound("person", name)
    return found.id


async def _tenant(session: AsyncSession, name: str | None) -> int | None:
    if name is None:
        return None
    found = await people.tenant_named(session, name)
    if found is None or found.archived_at is not None:
        raise NotFound("tenant", name)
    return found.id
