"""Routes of tenants and the people in them."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Query

from kqi import schema
from kqi_hub.audit.act import Act
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import MembershipRow, PersonRow, TenantRow
from kqi_hub.tenants import access, members, store
from kqi_hub.tenants.rows import JoinRequestRow
from kqi_hub.tenants.service import TenantService
from kqi_hub.web import paging
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes

routes = Routes("tenants")
Service = Annotated[TenantService, feature(TenantService)]
TenantName = Annotated[str, Path(max_length=63)]
PersonName = Annotated[str, Path(max_length=64)]


@routes.get("/tenants", permission=Permission.SIGNED_IN)
async def list_tenants(
    call: Caller,
    tenants: Service,
    mine: Annotated[bool, Query(description="Only those that the caller is in")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schema.Page[schema.TenantDetail]:
    """List one's tenants by name, and those that one may ask to join."""
    person = call.person
    own = {member.tenant for member in person.memberships if person.only_tenant in {None, member.tenant}}
    everything = access.governs(call.act, Permission.TENANT_READ)
    narrow = mine or person.only_tenant is not None
    seen = store.Seen(person.person, own, everything)
    rows = await store.page(call.session, seen, mine=narrow, after=paging.text_after(cursor), limit=limit + 1)
    shown = {detail.name: detail for detail in await _details(call.act, rows[:limit], tenants.default)}
    return paging.page(rows, limit, lambda row: row.name, lambda row: shown[row.name])


@routes.post("/tenants", permission=Permission.TENANT_CREATE, status=201)
async def create_tenant(call: Caller, body: schema.CreateTenant, tenants: Service) -> schema.TenantDetail:
    """Make a tenant; whoever makes it manages it."""
    made = await tenants.create(
        call.act, name=body.name, display_name=body.display_name, description=body.description, open_=body.open
    )
    return await _detail(call.act, made, tenants)


@routes.get("/tenants/{tenant}", permission=Permission.SIGNED_IN)
async def get_tenant(call: Caller, tenant: TenantName, tenants: Service) -> schema.TenantDetail:
    return await _detail(call.act, await access.visible(call.act, tenant), tenants)


@routes.patch("/tenants/{tenant}", permission=Permission.TENANT_MANAGE)
async def change_tenant(
    call: Caller, tenant: TenantName, body: schema.ChangeTenant, tenants: Service
) -> schema.TenantDetail:
    changed = await tenants.change(
        call.act, tenant, display_name=body.display_name, description=body.description, open_=body.open
    )
    return await _detail(call.act, changed, tenants)


@routes.post("/tenants/{tenant}/archive", permission=Permission.TENANT_MANAGE)
async def archive_tenant(call: Caller, tenant: TenantName, tenants: Service) -> schema.TenantDetail:
    """Make it read-only: what is in it can still be looked at and brought away."""
    return await _detail(call.act, await tenants.archive(call.act, tenant), tenants)


@routes.post("/tenants/{tenant}/unarchive", permission=Permission.TENANT_MANAGE)
async def unarchive_tenant(call: Caller, tenant: TenantName, tenants: Service) -> schema.TenantDetail:
    return await _detail(call.act, await tenants.unarchive(call.act, tenant), tenants)


@routes.post("/tenants/{tenant}/leave", permission=Permission.ACCOUNT_MANAGE, status=204)
async def leave_tenant(call: Caller, tenant: TenantName, tenants: Service) -> None:
    await members.leave(call.act, tenant, tenants.default)


@routes.get("/tenants/{tenant}/members", permission=Permission.TENANT_READ)
async def list_members(
    call: Caller, tenant: TenantName, limit: Limit = 100, cursor: Cursor = None
) -> schema.Page[schema.Member]:
    row = await access.governed(call.act, tenant, Permission.TENANT_READ)
    found = await store.members(call.session, row.id, after=paging.text_after(cursor), limit=limit + 1)
    return paging.page(found, limit, lambda member: member[0].name, _member)


@routes.put("/tenants/{tenant}/members/{person}", permission=Permission.TENANT_MANAGE)
async def set_member(call: Caller, tenant: TenantName, person: PersonName, body: schema.SetMember) -> schema.Member:
    """Take somebody in, or give them another role."""
    return _member(await members.give_role(call.act, tenant, person, body.role))


@routes.delete("/tenants/{tenant}/members/{person}", permission=Permission.TENANT_MANAGE)
async def remove_member(call: Caller, tenant: TenantName, person: PersonName, tenants: Service) -> None:
    await members.take_role(call.act, tenant, person, tenants.default)


@routes.post("/tenants/{tenant}/request", permission=Permission.ACCOUNT_MANAGE, status=204)
async def ask_to_join(call: Caller, tenant: TenantName, body: schema.AskToJoin) -> None:
    """Ask the managers to be let in."""
    await members.ask(call.act, tenant, body.message)


@routes.delete("/tenants/{tenant}/request", permission=Permission.ACCOUNT_MANAGE)
async def withdraw_request(call: Caller, tenant: TenantName) -> None:
    await members.withdraw(call.act, tenant)


@routes.get("/tenants/{tenant}/requests", permission=Permission.TENANT_MANAGE)
async def list_requests(call: Caller, tenant: TenantName) -> schema.Page[schema.JoinRequest]:
    return schema.Page(items=[_request(*found) for found in await members.requests(call.act, tenant)])


@routes.post("/tenants/{tenant}/requests/{person}/accept", permission=Permission.TENANT_MANAGE)
async def accept_request(call: Caller, tenant: TenantName, person: PersonName, body: schema.SetMember) -> schema.Member:
    return _member(await members.accept(call.act, tenant, person, body.role))


@routes.post("/tenants/{tenant}/requests/{person}/decline", permission=Permission.TENANT_MANAGE, status=204)
async def decline_request(call: Caller, tenant: TenantName, person: PersonName) -> None:
    await members.decline(call.act, tenant, person)


async def _detail(act: Act, row: TenantRow, tenants: TenantService) -> schema.TenantDetail:
    return (await _details(act, [row], tenants.default))[0]


async def _details(act: Act, rows: Sequence[TenantRow], default: str) -> list[schema.TenantDetail]:
    managers = await store.managers(act.session, [row.id for row in rows])
    asked = await store.asked(act.session, act.person.person)
    founders = await store.names(act.session, {row.created_by for row in rows if row.created_by})
    roles = await store.memberships(act.session, act.person, [row.id for row in rows])
    return [
        schema.TenantDetail(
            name=row.name,
            display_name=row.display_name,
            description=row.description,
            open=row.open,
            archived=row.archived_at is not None,
            default=row.name == default,
            created_by=founders.get(row.created_by or 0),
            created_at=row.created_at,
            managers=managers[row.id],
            roles=list(roles[row.id].roles) if row.id in roles else [],
            permissions=sorted(p.value for p in roles[row.id].permissions) if row.id in roles else [],
            asked=row.id in asked,
        )
        for row in rows
    ]


def _member(found: tuple[PersonRow, MembershipRow]) -> schema.Member:
    person, membership = found
    return schema.Member(
        person=person.name,
        display_name=person.display_name,
        role=membership.role,
        directory_role=membership.directory_role,
    )


def _request(person: PersonRow, row: JoinRequestRow) -> schema.JoinRequest:
    return schema.JoinRequest(
        person=person.name, display_name=person.display_name, message=row.message, created_at=row.created_at
    )
