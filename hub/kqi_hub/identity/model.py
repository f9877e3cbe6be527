"""The caller of a request."""

from dataclasses import dataclass
from datetime import datetime

from kqi_hub.errors import Forbidden, NotFound
from kqi_hub.identity.policy import RUN_TOKEN, Permission, Role, grants
from kqi_hub.ids import PersonId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    tenant: TenantId
    name: str
    display_name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person, or a program with a token of theirs. `only_tenant` and `run_key` narrow a run's token."""

    person: PersonId
    name: str
    display_name: str
    administrator: bool
    language: str | None
    default_tenant: TenantId
    memberships: tuple[Membership, ...]
    token: int | None = None
    run_key: int | None = None
    only_tenant: TenantId | None = None

    def tenants(self, permission: Permission) -> dict[str, TenantId]:
        """Return the tenants, by name, in which the caller has `permission`."""
        if self.run_key is not None and permission not in RUN_TOKEN:
            return {}
        return {
            member.name: member.tenant
            for member in self.memberships
            if grants(member.role, permission) and self.only_tenant in {None, member.tenant}
        }

    def choose(self, permission: Permission, name: str | None) -> TenantId:
        """Return the tenant named, else the token's, else the default one. Raises NotFound or Forbidden."""
        allowed = self.tenants(permission)
        if name is not None:
            if name not in allowed:
                raise NotFound("tenant", name)
            return allowed[name]
        wanted = self.only_tenant or self.default_tenant
        if wanted in allowed.values():
            return wanted
        if not allowed:
            raise Forbidden("not_permitted", permission=permission.value)
        return next(iter(allowed.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    id: int
    name: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
