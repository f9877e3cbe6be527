"""Who is in a tenant: taken in, given another role, let go; those who ask to come in, and those who leave."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.clock import now
from kqi_hub.errors import Conflict, Forbidden, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import MANAGER, Level, Permission, Role, role_named
from kqi_hub.identity.rows import MembershipRow, PersonRow, TenantRow
from kqi_hub.tenants import access, store
from kqi_hub.tenants.rows import JoinRequestRow

Member = tuple[PersonRow, MembershipRow]


async def give_role(act: Act, tenant_name: str, person_name: str, role: str) -> Member:
    """Take a person in with a role, or give who is in another one; by hand, whatever the directory says.

    Raises Forbidden for a role that may do more than the person who gives it, unless they manage all tenants.
    """
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    person = await _person(act.session, person_name)
    chosen = await tenant_role(act.session, role)
    _check_not_beyond(act, tenant, chosen)
    managers = await store.manager_count(act.session, tenant.id)
    membership = await act.session.get(MembershipRow, (person.id, tenant.id))
    if membership is None:
        membership = MembershipRow(person_id=person.id, tenant_id=tenant.id)
        act.session.add(membership)
    before, membership.role = membership.role, chosen.name
    await act.session.flush()
    await _check_managed(act.session, tenant, managers)
    await _forget_request(act.session, person.id, tenant.id)
    said = {"person": person.name, "before": before, "role": chosen.name}
    await act.note("tenant.member", f"tenant/{tenant.name}", tenant=tenant.id, **said)
    return person, membership


async def take_role(act: Act, tenant_name: str, person_name: str, default: str) -> None:
    """Take back what was given by hand; who the directory has put there stays."""
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    person = await _person(act.session, person_name)
    await _let_go(act, tenant, person, default)
    await act.note("tenant.member", f"tenant/{tenant.name}", tenant=tenant.id, person=person.name, role=None)


async def succeed(session: AsyncSession, person: PersonRow, heir: PersonRow) -> list[TenantRow]:
    """Make somebody the manager of those of their tenants that only `person` manages; return these."""
    taken = []
    for tenant in await store.managed_alone(session, person.id):
        membership = await session.get(MembershipRow, (heir.id, tenant.id))
        if membership is not None:
            membership.role = MANAGER
            taken.append(tenant)
    await session.flush()
    return taken


async def leave(act: Act, tenant_name: str, default: str) -> None:
    tenant = await access.visible(act, tenant_name)
    person = await act.session.get_one(PersonRow, act.person.person)
    membership = await _let_go(act, tenant, person, default)
    if membership.directory_role is not None:
        raise Conflict("member_by_directory", person=person.name)
    await act.note("tenant.leave", f"tenant/{tenant.name}", tenant=tenant.id)


async def ask(act: Act, tenant_name: str, message: str) -> None:
    """Ask to be let in; to ask again changes the message."""
    tenant = await access.visible(act, tenant_name)
    if await act.session.get(MembershipRow, (act.person.person, tenant.id)) is not None:
        raise Conflict("member_already", name=tenant.name)
    if not tenant.open or tenant.archived_at is not None:
        raise Conflict("tenant_not_open", name=tenant.name)
    row = await act.session.get(JoinRequestRow, (act.person.person, tenant.id))
    if row is None:
        row = JoinRequestRow(person_id=act.person.person, tenant_id=tenant.id, created_at=now())
        act.session.add(row)
    row.message = message
    await act.session.flush()
    await act.note("tenant.ask", f"tenant/{tenant.name}", tenant=tenant.id)


async def withdraw(act: Act, tenant_name: str) -> None:
    tenant = await access.visible(act, tenant_name)
    row = await act.session.get(JoinRequestRow, (act.person.person, tenant.id))
    if row is None:
        raise NotFound("request", tenant_name)
    await act.session.delete(row)


async def requests(act: Act, tenant_name: str) -> Sequence[tuple[PersonRow, JoinRequestRow]]:
    """Return who asks, the longest first."""
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    query = select(PersonRow, JoinRequestRow).join(JoinRequestRow, JoinRequestRow.person_id == PersonRow.id)
    query = query.where(JoinRequestRow.tenant_id == tenant.id).order_by(JoinRequestRow.created_at, PersonRow.id)
    return [(person, row) for person, row in await act.session.execute(query.limit(1000))]


async def accept(act: Act, tenant_name: str, person_name: str, role: str) -> Member:
    await _request(act, tenant_name, person_name)
    return await give_role(act, tenant_name, person_name, role)


async def decline(act: Act, tenant_name: str, person_name: str) -> None:
    await act.session.delete(await _request(act, tenant_name, person_name))
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    await act.note("tenant.decline", f"tenant/{tenant.name}", tenant=tenant.id, person=person_name)


async def tenant_role(session: AsyncSession, name: str) -> Role:
    """Return a role in a tenant, also by what other systems call it. Raises Invalid."""
    found = role_named(name, await people.own_roles(session), Level.TENANT)
    if found is None:
        raise Invalid("role_unknown", name=name)
    return found


def _check_not_beyond(act: Act, tenant: TenantRow, role: Role) -> None:
    if access.governs(act, Permission.TENANT_MANAGE):
        return
    member = access.membership(act, tenant)
    own = {permission for permission in member.permissions if act.person.lets(permission)} if member else set()
    beyond = sorted(permission.value for permission in role.permissions - own)
    if beyond:
        raise Forbidden("beyond_own_rights", tenant=tenant.id, permission=beyond[0])


async def _let_go(act: Act, tenant: TenantRow, person: PersonRow, default_name: str) -> MembershipRow:
    membership = await act.session.get(MembershipRow, (person.id, tenant.id))
    if membership is None or membership.role is None:
        if membership is not None:
            raise Conflict("member_by_directory", person=person.name)
        raise NotFound("member", person.name)
    if tenant.name == default_name:
        raise Conflict("tenant_default", name=tenant.name)
    managers = await store.manager_count(act.session, tenant.id)
    membership.role = None
    if membership.directory_role is None:
        await act.session.delete(membership)
    await act.session.flush()
    await _check_managed(act.session, tenant, managers)
    if membership.directory_role is None:
        default = await people.ensure_tenant(act.session, default_name, default_name)
        await store.settle(act.session, person.id, tenant.id, default)
    return membership


async def _check_managed(session: AsyncSession, tenant: TenantRow, before: int) -> None:
    """A tenant that has managers keeps one."""
    if before and not await store.manager_count(session, tenant.id):
        raise Conflict("last_manager", name=tenant.name)


async def _person(session: AsyncSession, name: str) -> PersonRow:
    person = await people.person_named(session, name)
    if person is None:
        raise NotFound("person", name)
    return person


async def _request(act: Act, tenant_name: str, person_name: str) -> JoinRequestRow:
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    person = await people.person_named(act.session, person_name)
    row = await act.session.get(JoinRequestRow, (person.id, tenant.id)) if person else None
    if row is None:
        raise NotFound("request", person_name)
    return row


async def _forget_request(session: AsyncSession, person: int, tenant: int) -> None:
    row = await session.get(JoinRequestRow, (person, tenant))
    if row is not None:
        await session.delete(row)
        await session.flush()
