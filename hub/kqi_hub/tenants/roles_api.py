"""Routes of roles."""

from typing import Annotated

from fastapi import Path, Response

from kqi import schema
from kqi_hub.errors import NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import ALIASES, BUILT_IN, CAPABILITIES, Permission, Role
from kqi_hub.identity.rows import PersonRow
from kqi_hub.tenants import roles
from kqi_hub.web.call import Call, Caller
from kqi_hub.web.routes import Routes, check_unchanged, conditional

routes = Routes("roles")
PersonName = Annotated[str, Path(max_length=64)]


@routes.get("/roles", permission=Permission.SIGNED_IN)
async def get_roles(call: Caller) -> schema.RoleMatrix:
    """Show all roles and what each allows; `ETag` names this state of them."""
    return await _matrix(call)


@routes.put("/roles", permission=Permission.ROLES_MANAGE, responses={200: {"model": schema.RoleMatrix}})
async def set_roles(call: Caller, body: schema.SetRoles) -> Response:
    """Change the platform's own roles, all at once; `If-Match` says which state the change was made on."""
    check_unchanged(call, await _matrix(call))
    wanted = [(roles.role(one.name, one.level, one.capabilities), one.display_name) for one in body.roles]
    await roles.replace(call.act, wanted)
    return conditional(await _matrix(call))


@routes.get("/roles/people", permission=Permission.PEOPLE_READ)
async def list_platform_roles(call: Caller) -> schema.Page[schema.PlatformRole]:
    """List who has a role over the platform."""
    return schema.Page(items=[_holder(person) for person in await roles.holders(call.session)])


@routes.put("/roles/people/{person}", permission=Permission.ROLES_MANAGE)
async def set_platform_role(call: Caller, person: PersonName, body: schema.SetPlatformRole) -> schema.PlatformRole:
    row = await people.person_named(call.session, person)
    if row is None:
        raise NotFound("person", person)
    await roles.give(call.act, row, body.role)
    return _holder(row)


async def _matrix(call: Call) -> schema.RoleMatrix:
    own = [
        _info(roles.role(row.name, row.level, roles.capabilities(row)), row.display_name, built_in=False)
        for row in await roles.own(call.session)
    ]
    built_in = [_info(role, role.name, built_in=True) for role in BUILT_IN.values()]
    known = [
        schema.Capability(name=permission.value, level=level.value)
        for level, permissions in CAPABILITIES.items()
        for permission in Permission
        if permission in permissions
    ]
    return schema.RoleMatrix(roles=[*built_in, *own], capabilities=known)


def _info(role: Role, display_name: str, *, built_in: bool) -> schema.RoleInfo:
    return schema.RoleInfo(
        name=role.name,
        display_name=display_name,
        level=role.level.value,
        capabilities=[permission.value for permission in Permission if permission in role.permissions],
        built_in=built_in,
        aliases=sorted(alias for alias, name in ALIASES.items() if name == role.name),
    )


def _holder(person: PersonRow) -> schema.PlatformRole:
    return schema.PlatformRole(
        person=person.name,
        display_name=person.display_name,
        role=person.platform_role,
        directory_role=person.directory_platform_role,
    )
