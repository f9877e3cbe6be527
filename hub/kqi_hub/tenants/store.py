"""Queries on tenants and their members."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.identity import people
from kqi_hub.identity.model import Membership, Principal
from kqi_hub.identity.policy import BUILT_IN, Permission
from kqi_hub.identity.rows import MembershipRow, PersonRow, RoleRow, TenantRow
from kqi_hub.tenants.rows import JoinRequestRow


@dataclass(frozen=True, slots=True)
class Seen:
    """Whose view of the tenants it is; `all`: who governs the platform's."""

    person: int
    tenants: Collection[int]
    all: bool


async def page(session: AsyncSession, seen: Seen, *, mine: bool, after: str | None, limit: int) -> Sequence[TenantRow]:
    """Return tenants by name: the person's own, and unless `mine` those that are open to others."""
    query = select(TenantRow).order_by(TenantRow.name).limit(limit)
    own = TenantRow.id.in_(list(seen.tenants))
    if mine:
        query = query.where(own)
    elif not seen.all:
        query = query.where(or_(own, TenantRow.open.is_(True) & TenantRow.archived_at.is_(None)))
    if after is not None:
        query = query.where(TenantRow.name > after)
    return (await session.execute(query)).scalars().all()


async def managers(session: AsyncSession, tenants: Collection[int]) -> Mapping[int, list[str]]:
    """Return tenant → names of those who manage it."""
    names = await managing_roles(session)
    query = select(MembershipRow.tenant_id, PersonRow.name).join(PersonRow, PersonRow.id == MembershipRow.person_id)
    query = query.where(MembershipRow.tenant_id.in_(list(tenants)), _has_one_of(names)).order_by(PersonRow.name)
    found: dict[int, list[str]] = {tenant: [] for tenant in tenants}
    for tenant, name in await session.execute(query):
        found[tenant].append(name)
    return found


async def managing_roles(session: AsyncSession) -> frozenset[str]:
    """Return the names of all roles that manage a tenant."""
    known = [*BUILT_IN.values(), *(await people.own_roles(session)).values()]
    return frozenset(role.name for role in known if Permission.TENANT_MANAGE in role.permissions)


async def manager_count(session: AsyncSession, tenant: int) -> int:
    """Return how many manage a tenant and may sign in to do so."""
    names = await managing_roles(session)
    query = select(func.count()).select_from(MembershipRow).join(PersonRow, PersonRow.id == MembershipRow.person_id)
    query = query.where(MembershipRow.tenant_id == tenant, _has_one_of(names), people.may_come())
    return (await session.execute(query)).scalar_one()


async def managed_alone(session: AsyncSession, person: int) -> Sequence[TenantRow]:
    """Return the tenants, by name and without those in the archive, that nobody else who may sign in manages."""
    manages = _has_one_of(await managing_roles(session))
    others = select(MembershipRow.tenant_id).join(PersonRow, PersonRow.id == MembershipRow.person_id)
    others = others.where(MembershipRow.person_id != person, manages, people.may_come())
    query = select(TenantRow).join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
    query = query.where(MembershipRow.person_id == person, manages)
    query = query.where(TenantRow.archived_at.is_(None), TenantRow.id.not_in(others))
    return (await session.execute(query.order_by(TenantRow.name))).scalars().all()


async def asked(session: AsyncSession, person: int) -> set[int]:
    """Return the tenants that a person has asked to join."""
    return set(await session.scalars(select(JoinRequestRow.tenant_id).where(JoinRequestRow.person_id == person)))


async def members(
    session: AsyncSession, tenant: int, *, after: str | None, limit: int
) -> Sequence[tuple[PersonRow, MembershipRow]]:
    query = select(PersonRow, MembershipRow).join(MembershipRow, MembershipRow.person_id == PersonRow.id)
    query = query.where(MembershipRow.tenant_id == tenant).order_by(PersonRow.name).limit(limit)
    if after is not None:
        query = query.where(PersonRow.name > after)
    return [(person, membership) for person, membership in await session.execute(query)]


async def names(session: AsyncSession, ids: Collection[int]) -> Mapping[int, str]:
    rows = await session.execute(select(PersonRow.id, PersonRow.name).where(PersonRow.id.in_(list(ids))))
    return {key: name for key, name in rows}


async def memberships(session: AsyncSession, person: Principal, tenants: Collection[int]) -> Mapping[int, Membership]:
    """Return what the caller may do in these tenants, as of now: they may have made one just now."""
    row = await session.get_one(PersonRow, person.person)
    found = await people.principal(session, row)
    visible = [member for member in found.memberships if person.only_tenant in {None, member.tenant}]
    return {member.tenant: member for member in visible if member.tenant in tenants}


async def settle(session: AsyncSession, person: int, left: int, default: TenantRow) -> None:
    """See to it that a person who has left a tenant has one, and begins in one of theirs."""
    query = select(MembershipRow.tenant_id).where(MembershipRow.person_id == person, MembershipRow.tenant_id != left)
    rest = list(await session.scalars(query.order_by(MembershipRow.tenant_id)))
    if not rest:
        session.add(people.first_membership(person, default.id))
        rest = [default.id]
    begins = default.id if default.id in rest else rest[0]
    leaves = update(PersonRow).where(PersonRow.id == person, PersonRow.default_tenant_id == left)
    await session.execute(leaves.values(default_tenant_id=begins).execution_options(synchronize_session="fetch"))
    await session.flush()


async def role_names(session: AsyncSession) -> set[str]:
    return {*BUILT_IN, *(await session.scalars(select(RoleRow.name)))}


def _has_one_of(names: Collection[str]) -> ColumnElement[bool]:
    return or_(MembershipRow.role.in_(names), MembershipRow.directory_role.in_(names))
