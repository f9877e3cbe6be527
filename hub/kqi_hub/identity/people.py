"""People and tenants as the platform keeps them."""

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.identity.model import Membership, Narrowing, Principal
from kqi_hub.identity.policy import ADMINISTRATOR, BUILT_IN, MANAGER, RESEARCHER, Level, Permission, Role, union
from kqi_hub.identity.rows import MembershipRow, PersonRow, RoleRow, TenantRow, TokenRow
from kqi_hub.ids import PersonId, TenantId


async def person_named(session: AsyncSession, name: str) -> PersonRow | None:
    return (await session.execute(select(PersonRow).where(PersonRow.name == name))).scalar_one_or_none()


async def tenant_named(session: AsyncSession, name: str) -> TenantRow | None:
    return (await session.execute(select(TenantRow).where(TenantRow.name == name))).scalar_one_or_none()


async def ensure_tenant(session: AsyncSession, name: str, display_name: str) -> TenantRow:
    """Return the tenant, made if missing."""
    row = await tenant_named(session, name)
    if row is None:
        row = TenantRow(name=name, display_name=display_name, created_at=now())
        session.add(row)
        await session.flush()
    return row


async def ensure_person(
    session: AsyncSession, name: str, tenant: TenantRow, *, display_name: str = "", administrator: bool = False
) -> PersonRow:
    """Return the person, made with membership in `tenant` if missing. What is there is not changed."""
    row = await person_named(session, name)
    if row is None:
        row = PersonRow(
            name=name,
            display_name=display_name or name,
            platform_role=ADMINISTRATOR if administrator else None,
            default_tenant_id=tenant.id,
            created_at=now(),
        )
        session.add(row)
        await session.flush()
        session.add(first_membership(row.id, tenant.id, administrator=administrator))
        await session.flush()
    return row


def first_membership(person: int, tenant: int, *, administrator: bool = False) -> MembershipRow:
    """Return what everybody has at first: they may work in the tenant where all are."""
    return MembershipRow(person_id=person, tenant_id=tenant, role=MANAGER if administrator else RESEARCHER)


async def own_roles(session: AsyncSession, names: Iterable[str] | None = None) -> dict[str, Role]:
    """Return the platform's own roles, those of `names` or all."""
    query = select(RoleRow).order_by(RoleRow.name)
    if names is not None:
        wanted = sorted(set(names) - BUILT_IN.keys())
        if not wanted:
            return {}
        query = query.where(RoleRow.name.in_(wanted))
    return {row.name: _role(row) for row in (await session.execute(query)).scalars()}


async def principal(session: AsyncSession, person: PersonRow, token: TokenRow | None = None) -> Principal:
    """Return the caller that `person`, with `token` if that is how they came, is."""
    query = (
        select(TenantRow, MembershipRow.role, MembershipRow.directory_role)
        .join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
        .where(MembershipRow.person_id == person.id)
        .order_by(TenantRow.name)
    )
    found = [(tenant, _given(by_hand, by_directory)) for tenant, by_hand, by_directory in await session.execute(query)]
    platform = _given(person.platform_role, person.directory_platform_role)
    own = await own_roles(session, {*platform, *(name for _, names in found for name in names)})
    return Principal(
        person=PersonId(person.id),
        name=person.name,
        display_name=person.display_name,
        platform_roles=platform,
        platform=permissions(platform, own, Level.PLATFORM),
        language=person.language,
        default_tenant=TenantId(person.default_tenant_id),
        memberships=tuple(
            Membership(
                tenant=TenantId(tenant.id),
                name=tenant.name,
                display_name=tenant.display_name,
                roles=names,
                permissions=permissions(names, own, Level.TENANT),
                archived=tenant.archived_at is not None,
            )
            for tenant, names in found
        ),
        narrowing=_narrowing(token) if token else None,
        suspended=person.disabled or (person.gone_at is not None and not (token and token.run_key)),
    )


async def tenants_of(session: AsyncSession, person: int) -> tuple[str, ...]:
    """Return the names of a person's tenants, which the hub has as groups."""
    query = select(TenantRow.name).join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
    found = await session.execute(query.where(MembershipRow.person_id == person).order_by(TenantRow.name))
    return tuple(found.scalars())


async def anybody(session: AsyncSession) -> bool:
    """Return whether there is any person at all."""
    return (await session.execute(select(PersonRow.id).limit(1))).first() is not None


async def another_administrator(session: AsyncSession, person: int) -> bool:
    """Return whether somebody else than `person` may sign in and administer the platform."""
    administers = or_(PersonRow.platform_role == ADMINISTRATOR, PersonRow.directory_platform_role == ADMINISTRATOR)
    others = select(PersonRow.id).where(PersonRow.id != person, may_come(), administers)
    return (await session.execute(others.limit(1))).first() is not None


def may_come() -> ColumnElement[bool]:
    """Return the condition under which a person may sign in."""
    return PersonRow.disabled.is_(False) & PersonRow.gone_at.is_(None)


def permissions(names: Iterable[str], own: Mapping[str, Role], level: Level) -> frozenset[Permission]:
    """Return what these roles allow. One that is no longer known, or holds elsewhere, allows nothing."""
    known = [BUILT_IN.get(name) or own.get(name) for name in names]
    return union(role for role in known if role is not None and role.level is level)


def _given(*roles: str | None) -> tuple[str, ...]:
    return tuple(sorted({role for role in roles if role}))


def _role(row: RoleRow) -> Role:
    named = set(json.loads(row.permissions))
    return Role(row.name, Level(row.level), frozenset(p for p in Permission if p.value in named))


def _narrowing(token: TokenRow) -> Narrowing:
    allowed = None if token.capabilities is None else frozenset(json.loads(token.capabilities))
    return Narrowing(
        token=token.id,
        run_key=token.run_key,
        only_tenant=TenantId(token.tenant_id) if token.tenant_id else None,
        capabilities=None if allowed is None else frozenset(p for p in Permission if p.value in allowed),
    )
