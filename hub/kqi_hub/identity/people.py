"""People and tenants as the platform keeps them."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.identity.model import Membership, Principal
from kqi_hub.identity.policy import Role
from kqi_hub.identity.rows import MembershipRow, PersonRow, TenantRow, TokenRow
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
            administrator=administrator,
            default_tenant_id=tenant.id,
            created_at=now(),
        )
        session.add(row)
        await session.flush()
        role = Role.MANAGER if administrator else Role.RESEARCHER
        session.add(MembershipRow(person_id=row.id, tenant_id=tenant.id, role=role.value))
        await session.flush()
    return row


async def principal(session: AsyncSession, person: PersonRow, token: TokenRow | None = None) -> Principal:
    """Return the caller that `person`, with `token` if that is how they came, is."""
    query = (
        select(TenantRow, MembershipRow.role)
        .join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
        .where(MembershipRow.person_id == person.id)
        .order_by(TenantRow.name)
    )
    memberships = tuple(
        Membership(tenant=TenantId(tenant.id), name=tenant.name, display_name=tenant.display_name, role=Role(role))
        for tenant, role in (await session.execute(query)).all()
    )
    return Principal(
        person=PersonId(person.id),
        name=person.name,
        display_name=person.display_name,
        administrator=person.administrator,
        language=person.language,
        default_tenant=TenantId(person.default_tenant_id),
        memberships=memberships,
        token=token.id if token else None,
        run_key=token.run_key if token else None,
        only_tenant=TenantId(token.tenant_id) if token and token.tenant_id else None,
    )


async def anybody(session: AsyncSession) -> bool:
    """Return whether there is any person at all."""
    return (await session.execute(select(PersonRow.id).limit(1))).first() is not None
