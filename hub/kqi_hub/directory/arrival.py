"""Those whom a directory knows arrive: the platform gets to know them, and what the directory says now holds."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.directory import apply
from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.directory.mapping import Rule, Strongest, changes
from kqi_hub.identity import people
from kqi_hub.identity.policy import ADMINISTRATOR
from kqi_hub.identity.rows import LOCAL, MembershipRow, PersonRow, TenantRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A person of the platform. `tenants` are names, which the hub has as groups."""

    id: int
    name: str
    display_name: str
    administrator: bool
    tenants: tuple[str, ...]


async def arrive(
    session: AsyncSession, entries: Sequence[Entry], *, default_tenant: str, sign_in: bool = True
) -> list[Arrived | Refused]:
    """Make the people who `entries` are if this is their first time, and take over what their directory says of them.

    Refuses a disabled account, a name that belongs to somebody else, and another name of somebody who is known: names
    are given anew, ids are not.
    As many questions to the database for one as for many, as long as nothing is new. Without `sign_in` they are in
    already, and only what is said of them has changed.
    """
    ground = await _ground(session, entries)
    found = [await _one(session, entry, ground, default_tenant) for entry in entries]
    for one in found if sign_in else ():
        if isinstance(one, PersonRow):
            one.signed_in_at = now()
    await session.flush()
    return [one if isinstance(one, Refused) else await _known(session, one, ground) for one in found]


def is_of(person: PersonRow, entry: Entry) -> bool:
    """Return whether the entry is this person's: names are given anew, ids are not."""
    return (person.source, person.directory_id) == (entry.source, entry.directory_id)


async def known(session: AsyncSession, person: PersonRow) -> Arrived:
    """Return the person as the hub is to have them."""
    return _arrived(person, await people.tenants_of(session, person.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What is read once for all who arrive together; what becomes of people in `changed` is read anew."""

    people: dict[str, PersonRow]
    names: dict[str, str]  # of people, by their id in the directory
    tenants: Mapping[int, tuple[str, ...]]
    held: Mapping[int, dict[int | None, str]]
    rules: Sequence[Rule]
    strongest: Strongest
    changed: set[int] = field(default_factory=set)


async def _ground(session: AsyncSession, entries: Sequence[Entry]) -> _Ground:
    wanted = sorted({entry.name for entry in entries})
    ids = sorted({entry.directory_id for entry in entries if entry.directory_id is not None})
    query = select(PersonRow).where(PersonRow.name.in_(wanted) | PersonRow.directory_id.in_(ids))
    rows = {row.name: row for row in await session.scalars(query)}
    memberships = (
        select(MembershipRow.person_id, MembershipRow.tenant_id, MembershipRow.directory_role, TenantRow.name)
        .join(TenantRow, TenantRow.id == MembershipRow.tenant_id)
        .where(MembershipRow.person_id.in_(sorted(row.id for row in rows.values())))
        .order_by(TenantRow.name)
    )
    tenants: dict[int, tuple[str, ...]] = {}
    held: dict[int, dict[int | None, str]] = {row.id: apply.of_platform(row) for row in rows.values()}
    for person, tenant, role, name in await session.execute(memberships):
        tenants[person] = (*tenants.get(person, ()), name)
        if role is not None:
            held[person][tenant] = role
    # What a directory gives is not asked for where only local people come.
    outside = any(entry.source != LOCAL for entry in entries)
    return _Ground(
        people=rows,
        names={row.directory_id: row.name for row in rows.values() if row.directory_id is not None},
        tenants=tenants,
        held=held,
        rules=await apply.rules(session) if outside else (),
        strongest=await apply.strength(session) if outside else max,
    )


async def _one(session: AsyncSession, entry: Entry, ground: _Ground, default_tenant: str) -> PersonRow | Refused:
    person = ground.people.get(entry.name)
    if entry.directory_id is not None and ground.names.setdefault(entry.directory_id, entry.name) != entry.name:
        return Refused(why=Refusal.RENAMED)
    if person is None:
        if entry.source == LOCAL:
            return Refused(why=Refusal.WRONG)
        tenant = await people.ensure_tenant(session, default_tenant, default_tenant)
        person = await people.ensure_person(session, entry.name, tenant, display_name=entry.display_name)
        person.source, person.directory_id = entry.source, entry.directory_id
        ground.people[entry.name] = person
        ground.changed.add(person.id)
    if not is_of(person, entry):
        return Refused(why=Refusal.NAME_TAKEN)
    if person.disabled:
        return Refused(why=Refusal.DISABLED)
    if entry.source != LOCAL:
        _take_over(person, entry)
        after = apply.wanted(entry, ground.rules, ground.strongest)
        if changes(ground.held.get(person.id, {}), after):
            if await apply.leaves_nobody(session, person, after):
                log.warning("the directory takes the last administrator; they stay one", extra={"person": person.name})
                after[None] = ADMINISTRATOR
            await apply.bring_up_to_date(session, person, after)
            ground.changed.add(person.id)
    person.gone_at = None
    return person


async def _known(session: AsyncSession, person: PersonRow, ground: _Ground) -> Arrived:
    if person.id in ground.changed:
        return await known(session, person)
    return _arrived(person, ground.tenants.get(person.id, ()))


def _arrived(person: PersonRow, tenants: tuple[str, ...]) -> Arrived:
    return Arrived(
        id=person.id,
        name=person.name,
        display_name=person.display_name,
        administrator=ADMINISTRATOR in {person.platform_role, person.directory_platform_role},
        tenants=tenants,
    )


def _take_over(person: PersonRow, entry: Entry) -> None:
    person.display_name = entry.display_name or entry.name
    person.email = entry.email
    person.uid, person.gid = entry.uid, entry.gid
