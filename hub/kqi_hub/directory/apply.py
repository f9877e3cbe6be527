"""Give people what the directory says, beside what they were given by hand, and take nothing else."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.directory.base import Entry
from kqi_hub.directory.mapping import Change, Kind, Rule, Strongest, changes, given
from kqi_hub.identity import people
from kqi_hub.identity.policy import ADMINISTRATOR, BUILT_IN
from kqi_hub.identity.rows import LOCAL, MappingRow, MembershipRow, PersonRow


async def rules(session: AsyncSession) -> list[Rule]:
    rows = (await session.execute(select(MappingRow).order_by(MappingRow.id))).scalars()
    return [Rule(kind=Kind(row.kind), value=row.value, tenant=row.tenant_id, role=row.role) for row in rows]


async def strength(session: AsyncSession) -> Strongest:
    """Return what chooses among roles: the one that allows the most."""
    known = {**BUILT_IN, **await people.own_roles(session)}

    def strongest(names: Iterable[str]) -> str:
        return max(names, key=lambda name: (len(known[name].permissions) if name in known else -1, name))

    return strongest


def wanted(entry: Entry | None, by: Sequence[Rule], strongest: Strongest) -> dict[int | None, str]:
    """Return what the directory gives this person; nothing to who is not in it any more."""
    if entry is None:
        return {}
    found = given(entry, by, strongest)
    if entry.administrator:
        found[None] = ADMINISTRATOR
    return found


async def held(session: AsyncSession, person: PersonRow) -> dict[int | None, str]:
    """Return what the directory has given this person so far."""
    query = select(MembershipRow.tenant_id, MembershipRow.directory_role)
    rows = await session.execute(
        query.where(MembershipRow.person_id == person.id, MembershipRow.directory_role.is_not(None))
    )
    return {**of_platform(person), **{tenant: role for tenant, role in rows if role}}


async def held_by_all(session: AsyncSession) -> dict[int, dict[int | None, str]]:
    """Return what the directory has given each person of a directory so far, by their number."""
    outside = PersonRow.source != LOCAL
    over = select(PersonRow.id, PersonRow.directory_platform_role).where(outside)
    found: dict[int, dict[int | None, str]] = {
        person: {} if role is None else {None: role} for person, role in await session.execute(over)
    }
    within = select(MembershipRow.person_id, MembershipRow.tenant_id, MembershipRow.directory_role)
    within = within.join(PersonRow, PersonRow.id == MembershipRow.person_id).where(outside)
    for person, tenant, role in await session.execute(within):
        if role is not None:
            found[person][tenant] = role
    return found


def of_platform(person: PersonRow) -> dict[int | None, str]:
    role = person.directory_platform_role
    return {} if role is None else {None: role}


async def would_change(session: AsyncSession, person: PersonRow, entry: Entry) -> bool:
    """Return whether the directory gives this person something else than they have, by the mappings of now."""
    after = wanted(entry, await rules(session), await strength(session))
    return bool(changes(await held(session, person), after))


async def leaves_nobody(session: AsyncSession, person: PersonRow, after: Mapping[int | None, str]) -> bool:
    """Return whether there would be no administrator any more once the directory gives this person `after`."""
    stays = ADMINISTRATOR in {person.platform_role, after.get(None)}
    loses = person.directory_platform_role == ADMINISTRATOR and not stays
    return loses and not await people.another_administrator(session, person.id)


async def bring_up_to_date(session: AsyncSession, person: PersonRow, after: Mapping[int | None, str]) -> list[Change]:
    """Make what the directory gives exactly `after`; return what that changed."""
    found = changes(await held(session, person), after)
    for change in found:
        if change.tenant is None:
            person.directory_platform_role = change.after
            continue
        membership = await session.get(MembershipRow, (person.id, change.tenant))
        if membership is None:
            membership = MembershipRow(person_id=person.id, tenant_id=change.tenant)
            session.add(membership)
        membership.directory_role = change.after
        if membership.role is None and membership.directory_role is None:
            await session.delete(membership)
            await _begin_elsewhere(session, person, change.tenant)
    await session.flush()
    return found


async def _begin_elsewhere(session: AsyncSession, person: PersonRow, left: int) -> None:
    if person.default_tenant_id == left:
        query = select(MembershipRow.tenant_id).where(MembershipRow.person_id == person.id)
        rest = await session.scalar(query.where(MembershipRow.tenant_id != left).order_by(MembershipRow.tenant_id))
        person.default_tenant_id = rest or left
