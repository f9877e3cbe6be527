"""What each role may do: the one table of permissions. Pure.

A permission is the right that a route declares; people see them as capabilities, in the matrix of roles.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a route needs. PUBLIC: nobody need be signed in; SIGNED_IN: to see one's own things, whatever the role."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    ACCOUNT_MANAGE = "account.manage"  # to see and change one's tokens, keys, credentials and notifications
    SERVICE = "service"  # the hub's own calls
    # within a tenant; X_ANY reaches what others have made, without it X reaches one's own and what is shared with one
    TENANT_READ = "tenant.read"
    TENANT_MANAGE = "tenant.manage"
    DATA_READ = "data.read"
    DATA_WRITE = "data.write"
    DATA_WRITE_ANY = "data.write_any"
    DATASET_READ = "dataset.read"
    DATASET_WRITE = "dataset.write"
    DATASET_WRITE_ANY = "dataset.write_any"
    RUN_READ = "run.read"
    RUN_SUBMIT = "run.submit"
    RUN_CONTROL = "run.control"
    RUN_CONTROL_ANY = "run.control_any"
    # over the whole platform
    TENANT_CREATE = "tenant.create"
    TENANTS_MANAGE = "tenants.manage"
    PEOPLE_READ = "people.read"
    PEOPLE_MANAGE = "people.manage"
    ROLES_MANAGE = "roles.manage"
    AUDIT_READ = "audit.read"
    PLATFORM = "platform"  # its settings: terms, mappings of the directory, nodes


class Level(StrEnum):
    """Where a role holds: in one tenant, or over the whole platform."""

    TENANT = "tenant"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    level: Level
    permissions: frozenset[Permission]


_P = Permission
_READ = {_P.TENANT_READ, _P.DATA_READ, _P.DATASET_READ, _P.RUN_READ}
_CURATE = _READ | {_P.DATA_WRITE, _P.DATASET_WRITE}
_WORK = _CURATE | {_P.DATA_WRITE_ANY, _P.DATASET_WRITE_ANY, _P.RUN_SUBMIT, _P.RUN_CONTROL}
_OPERATE = _WORK | {_P.RUN_CONTROL_ANY}
_MANAGE = _OPERATE | {_P.TENANT_MANAGE}
_AUDIT = {_P.AUDIT_READ, _P.PEOPLE_READ}
_ADMINISTER = _AUDIT | {_P.TENANT_CREATE, _P.TENANTS_MANAGE, _P.PEOPLE_MANAGE, _P.ROLES_MANAGE, _P.PLATFORM}

CAPABILITIES: Mapping[Level, frozenset[Permission]] = {
    Level.TENANT: frozenset(_MANAGE),
    Level.PLATFORM: frozenset(_ADMINISTER),
}
ADMINISTRATOR = "administrator"
MANAGER = "manager"
RESEARCHER = "researcher"
BUILT_IN: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("viewer", Level.TENANT, frozenset(_READ)),
        Role("user", Level.TENANT, frozenset(_CURATE)),
        Role(RESEARCHER, Level.TENANT, frozenset(_WORK)),
        Role("operator", Level.TENANT, frozenset(_OPERATE)),
        Role(MANAGER, Level.TENANT, frozenset(_MANAGE)),
        Role("auditor", Level.PLATFORM, frozenset(_AUDIT)),
        Role(ADMINISTRATOR, Level.PLATFORM, frozenset(_ADMINISTER)),
    )
}
# What people of other systems call them.
ALIASES: Mapping[str, str] = {
    **{"creator": MANAGER, "dev": RESEARCHER, "ops": "operator"},
    **{"users": "user", "researchers": RESEARCHER, "managers": MANAGER, "admins": ADMINISTRATOR},
}
# What is left to do in a tenant that is archived.
LOOKS: frozenset[Permission] = frozenset(_READ)
# Who may change things of a kind must see them first: what they may not see does not exist for them.
SEEN_BY: Mapping[Permission, Permission] = {
    _P.DATA_WRITE: _P.DATA_READ,
    _P.DATASET_WRITE: _P.DATASET_READ,
    _P.RUN_CONTROL: _P.RUN_READ,
    _P.RUN_SUBMIT: _P.RUN_READ,
}
# Over the platform this right is as good, in every tenant, for its settings and members; for its contents none is.
OVER: Mapping[Permission, Permission] = {
    _P.TENANT_READ: _P.TENANTS_MANAGE,
    _P.TENANT_MANAGE: _P.TENANTS_MANAGE,
}
# The right to change one's own things widens, by this one, to those of everybody in the tenant.
ANY: Mapping[Permission, Permission] = {
    _P.DATA_WRITE: _P.DATA_WRITE_ANY,
    _P.DATASET_WRITE: _P.DATASET_WRITE_ANY,
    _P.RUN_CONTROL: _P.RUN_CONTROL_ANY,
    _P.RUN_SUBMIT: _P.RUN_CONTROL_ANY,  # a notebook of somebody's is started again as that person's
}
# Of its person's rights the token of a run has these, and only in the run's own tenant: code of anybody's is at work
# there, so it changes what is its person's, and nobody else's.
RUN_TOKEN: frozenset[Permission] = frozenset(_WORK - {_P.DATA_WRITE_ANY, _P.DATASET_WRITE_ANY})
# What a token may be narrowed to: rights in a tenant or over the platform, and the change of one's own account.
NARROWABLE: frozenset[Permission] = frozenset(_MANAGE | _ADMINISTER | {_P.ACCOUNT_MANAGE})


def everybody(created_by: str) -> frozenset[Permission]:
    """Return the rights over the platform that all people have, by what the settings say of who makes tenants."""
    return frozenset({_P.TENANT_CREATE}) if created_by == "everybody" else frozenset()


def role_named(name: str, own: Mapping[str, Role], level: Level) -> Role | None:
    """Return the role of this name or alias, built in or of `own`, if it holds at `level`."""
    found = BUILT_IN.get(name) or own.get(name) or BUILT_IN.get(ALIASES.get(name, ""))
    return found if found is not None and found.level is level else None


def union(roles: Iterable[Role]) -> frozenset[Permission]:
    return frozenset().union(*(role.permissions for role in roles))
