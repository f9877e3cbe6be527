"""The caller of a request."""

from dataclasses import dataclass

from kqi_hub.db.sharing import Recipient
from kqi_hub.errors import Conflict, Forbidden, NotFound
from kqi_hub.identity.policy import (
    ADMINISTRATOR,
    ANY,
    CAPABILITIES,
    LOOKS,
    NARROWABLE,
    RUN_TOKEN,
    SEEN_BY,
    Level,
    Permission,
)
from kqi_hub.ids import PersonId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a person may do in a tenant: what their roles there, by hand and by the directory, allow together."""

    tenant: TenantId
    name: str
    display_name: str
    roles: tuple[str, ...]
    permissions: frozenset[Permission]
    archived: bool = False

    def allows(self, permission: Permission) -> bool:
        return permission in self.permissions and (permission in LOOKS or not self.archived)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a token leaves of its person's rights. `run_key` marks the token of a run."""

    token: int
    run_key: int | None = None
    only_tenant: TenantId | None = None
    capabilities: frozenset[Permission] | None = None  # None: all

    @property
    def narrow(self) -> bool:
        """Whether it leaves less than everything."""
        return self.run_key is not None or self.only_tenant is not None or self.capabilities is not None

    def allows(self, permission: Permission) -> bool:
        if self.run_key is not None:
            return permission in RUN_TOKEN
        return self.capabilities is None or permission in self.capabilities

    def allows_beyond_tenants(self, permission: Permission) -> bool:
        """Return whether a right over the platform or one's account is left: one of a tenant's only if it was named."""
        if self.only_tenant is None:
            return self.allows(permission)
        return permission is Permission.ACCOUNT_MANAGE and permission in (self.capabilities or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person, or a program with a token of theirs."""

    person: PersonId
    name: str
    display_name: str
    platform_roles: tuple[str, ...]
    platform: frozenset[Permission]
    language: str | None
    default_tenant: TenantId
    memberships: tuple[Membership, ...]
    narrowing: Narrowing | None = None
    suspended: bool = False

    @property
    def administrator(self) -> bool:
        return ADMINISTRATOR in self.platform_roles

    @property
    def token(self) -> int | None:
        return self.narrowing.token if self.narrowing else None

    @property
    def run_key(self) -> int | None:
        return self.narrowing.run_key if self.narrowing else None

    @property
    def only_tenant(self) -> TenantId | None:
        return self.narrowing.only_tenant if self.narrowing else None

    def may(self, permission: Permission) -> bool:
        """Return whether the caller has a right that holds over the platform, or over their own account."""
        owned = permission is Permission.ACCOUNT_MANAGE or permission in self.platform
        return owned and self.lets_over(permission)

    def lets(self, permission: Permission) -> bool:
        """Return whether the token, if that is how the caller came, leaves them this right."""
        return self.narrowing is None or self.narrowing.allows(permission)

    def lets_over(self, permission: Permission) -> bool:
        """The same for a right beyond any one tenant."""
        return self.narrowing is None or self.narrowing.allows_beyond_tenants(permission)

    def capabilities(self) -> frozenset[Permission]:
        """Return all that the caller may do anywhere, as their token leaves it."""
        everywhere = NARROWABLE - CAPABILITIES[Level.TENANT]
        within = frozenset().union(*(member.permissions for member in self.memberships))
        return frozenset(p for p in everywhere if self.may(p)) | frozenset(p for p in within if self.tenants(p))

    def tenants(self, permission: Permission) -> dict[str, TenantId]:
        """Return the tenants, by name, in which the caller has `permission`."""
        if not self.lets(permission):
            return {}
        return {
            member.name: member.tenant
            for member in self.memberships
            if member.allows(permission) and self.only_tenant in {None, member.tenant}
        }

    def anywhere(self, permission: Permission) -> bool:
        """Return whether the caller has the right in any tenant, be it in the archive."""
        reached = [member for member in self.memberships if self.only_tenant in {None, member.tenant}]
        return self.lets(permission) and any(permission in member.permissions for member in reached)

    def seen(self, permission: Permission) -> frozenset[TenantId]:
        """Return the tenants whose things exist for who is about to use `permission` on one of them."""
        return frozenset(self.tenants(SEEN_BY.get(permission, permission)).values())

    @property
    def archived(self) -> frozenset[TenantId]:
        return frozenset(member.tenant for member in self.memberships if member.archived)

    @property
    def recipient(self) -> Recipient:
        """Return with whom things may have been shared; with a token of one tenant only what that tenant was given."""
        if self.only_tenant is not None:
            return Recipient(person=None, groups=frozenset([self.only_tenant]))
        return Recipient(person=self.person, groups=frozenset(member.tenant for member in self.memberships))

    def whole(self, permission: Permission) -> frozenset[TenantId]:
        """Return the tenants in which `permission` reaches what others have made as well."""
        return frozenset(self.tenants(ANY.get(permission, permission)).values())

    def choose(self, permission: Permission, name: str | None) -> TenantId:
        """Return the tenant named, else the token's, else the default one. Raises NotFound or Forbidden."""
        allowed = self.tenants(permission)
        if name is not None:
            if name in allowed:
                return allowed[name]
            member = next((member for member in self.memberships if member.name == name), None)
            if member is None or self.only_tenant not in {None, member.tenant}:
                raise NotFound("tenant", name)
            if member.archived and permission in member.permissions:
                raise Conflict("tenant_archived")
            raise Forbidden("not_permitted", tenant=member.tenant, permission=permission.value)
        wanted = self.only_tenant or self.default_tenant
        if wanted in allowed.values():
            return wanted
        if not allowed and self.anywhere(permission):
            raise Conflict("tenant_archived")
        if not allowed:
            raise Forbidden("not_permitted", permission=permission.value)
        return next(iter(allowed.values()))
