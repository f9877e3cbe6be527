"""Roles of the platform's own, changed as one matrix, and who has a role over the platform."""

import json
import re
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.errors import Conflict, Forbidden, Invalid
from kqi_hub.identity import people
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import ADMINISTRATOR, ALIASES, BUILT_IN, CAPABILITIES, Level, Permission, Role, role_named
from kqi_hub.identity.rows import MappingRow, MembershipRow, PersonRow, RoleRow

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


async def own(session: AsyncSession) -> Sequence[RoleRow]:
    return (await session.execute(select(RoleRow).order_by(RoleRow.name))).scalars().all()


def capabilities(row: RoleRow) -> list[str]:
    """Return what a role allows, without rights that this version no longer has."""
    known = {permission.value for permission in CAPABILITIES[Level(row.level)]}
    return [name for name in json.loads(row.permissions) if name in known]


async def replace(act: Act, wanted: Sequence[tuple[Role, str]]) -> None:
    """Make these pairs of role and display name all of the platform's own roles."""
    _check(act, wanted)
    before = {row.name: row for row in await own(act.session)}
    after = {role.name: (role, display_name) for role, display_name in wanted}
    for name, row in before.items():
        moved = name in after and after[name][0].level.value != row.level
        if (name not in after or moved) and await _in_use(act.session, name):
            raise Conflict("role_in_use", name=name)
    for name in before.keys() - after.keys():
        await act.session.delete(before[name])
    for name, (role, display_name) in after.items():
        row = before.get(name) or RoleRow(name=name)
        row.display_name, row.level = display_name or name, role.level.value
        row.permissions = json.dumps(_said(role))
        act.session.add(row)
    await act.session.flush()
    await act.note("roles.replace", "roles", roles={name: _said(after[name][0]) for name in sorted(after)})


async def holders(session: AsyncSession) -> Sequence[PersonRow]:
    """Return the people who have a role over the platform."""
    query = select(PersonRow).where(
        or_(PersonRow.platform_role.is_not(None), PersonRow.directory_platform_role.is_not(None))
    )
    return (await session.execute(query.order_by(PersonRow.name).limit(1000))).scalars().all()


async def give(act: Act, person: PersonRow, role: str | None) -> None:
    """Give somebody a role over the platform by hand, or take it; whoever does so needs the right to manage roles.

    Raises Forbidden for one, or for somebody, who may do more than the person; Conflict for the last administrator.
    """
    check_not_beyond({Permission.ROLES_MANAGE}, act.person)  # also to take one
    chosen = await platform_role(act, role) if role is not None else None
    await check_may_change(act.session, person, act.person)
    stays = ADMINISTRATOR in {chosen.name if chosen else None, person.directory_platform_role}
    if not stays:
        await keep_an_administrator(act.session, person)
    before, person.platform_role = person.platform_role, chosen.name if chosen else None
    await act.session.flush()
    await act.note("person.platform_role", f"person/{person.name}", before=before, role=person.platform_role)


async def platform_role(act: Act, name: str) -> Role:
    """Return a role over the platform that the person may give away. Raises Invalid or Forbidden."""
    check_not_beyond({Permission.ROLES_MANAGE}, act.person)
    own = await people.own_roles(act.session)
    found = role_named(name, own, Level.PLATFORM)
    if found is None:
        known = sorted(role.name for role in [*BUILT_IN.values(), *own.values()] if role.level is Level.PLATFORM)
        raise Invalid("platform_role_unknown", role=name, known=", ".join(known))
    check_not_beyond(found.permissions, act.person)
    return found


def role(name: str, level: str, capabilities: Iterable[str]) -> Role:
    """Return the role that was described. Raises Invalid for a right that there is not at this level."""
    known = {permission.value: permission for permission in CAPABILITIES[Level(level)]}
    asked = list(capabilities)
    unknown = next((capability for capability in asked if capability not in known), None)
    if unknown is not None:
        raise Invalid("capability_unknown", name=unknown, known=", ".join(sorted(known)))
    return Role(name, Level(level), frozenset(known[capability] for capability in asked))


def _check(act: Act, wanted: Sequence[tuple[Role, str]]) -> None:
    names = [role.name for role, _ in wanted]
    for name in names:
        if not _NAME.fullmatch(name) or name in BUILT_IN or name in ALIASES:
            raise Invalid("role_name_not_valid", name=name)
        if names.count(name) > 1:
            raise Invalid("role_twice", name=name)
    for described, _ in wanted:
        if described.level is Level.PLATFORM:
            check_not_beyond(described.permissions, act.person)


def check_not_beyond(wanted: Collection[Permission], caller: Principal) -> None:
    """Raise Forbidden unless the caller may do all that themselves, as their token leaves it."""
    beyond = sorted(permission.value for permission in wanted if not caller.may(permission))
    if beyond:
        raise Forbidden("beyond_own_rights", permission=beyond[0])


async def check_may_change(session: AsyncSession, row: PersonRow, caller: Principal) -> None:
    """Raise Forbidden for a person who may do more over the platform than the caller: no way up by their account."""
    theirs = await people.principal(session, row)
    check_not_beyond(theirs.platform, caller)


async def keep_an_administrator(session: AsyncSession, row: PersonRow) -> None:
    """Raise Conflict if nobody else could administer the platform."""
    administers = ADMINISTRATOR in {row.platform_role, row.directory_platform_role}
    if administers and not await people.another_administrator(session, row.id):
        raise Conflict("last_administrator", name=row.name)


async def _in_use(session: AsyncSession, name: str) -> bool:
    uses = (
        select(MembershipRow.person_id).where(or_(MembershipRow.role == name, MembershipRow.directory_role == name)),
        select(PersonRow.id).where(or_(PersonRow.platform_role == name, PersonRow.directory_platform_role == name)),
        select(MappingRow.id).where(MappingRow.role == name),
    )
    return any([(await session.execute(query.limit(1))).first() is not None for query in uses])


def _said(described: Role) -> list[str]:
    return sorted(permission.value for permission in described.permissions)
