"""What each role may do: the one table of permissions. Pure."""

from enum import StrEnum


class Permission(StrEnum):
    """What a route needs. PUBLIC: nobody need be signed in; SIGNED_IN: one's own things, whatever the role."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    TENANT_READ = "tenant.read"
    TENANT_MANAGE = "tenant.manage"
    DATA_READ = "data.read"
    DATA_WRITE = "data.write"
    DATASET_READ = "dataset.read"
    DATASET_WRITE = "dataset.write"
    RUN_READ = "run.read"
    RUN_SUBMIT = "run.submit"
    RUN_CONTROL = "run.control"
    PLATFORM = "platform"
    SERVICE = "service"  # the hub's own calls


class Role(StrEnum):
    RESEARCHER = "researcher"
    MANAGER = "manager"


_READ = frozenset({Permission.TENANT_READ, Permission.DATA_READ, Permission.DATASET_READ, Permission.RUN_READ})
_WORK = _READ | {Permission.DATA_WRITE, Permission.DATASET_WRITE, Permission.RUN_SUBMIT, Permission.RUN_CONTROL}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.RESEARCHER: _WORK,
    Role.MANAGER: _WORK | {Permission.TENANT_MANAGE},
}

# Of its person's rights the token of a run has these, and only in the run's own tenant.
RUN_TOKEN: frozenset[Permission] = _WORK


def grants(role: Role, permission: Permission) -> bool:
    return permission in GRANTS[role]
