"""How far a new token reaches: never further than what it is made with. Pure."""

from kqi import schema
from kqi_hub.errors import Forbidden, Invalid, NotFound
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import CAPABILITIES, NARROWABLE, Level, Permission
from kqi_hub.identity.rows import TokenRow
from kqi_hub.identity.tokens import Narrowed
from kqi_hub.ids import TenantId

_EVERYWHERE = CAPABILITIES[Level.PLATFORM]


def narrowed(person: Principal, maker: TokenRow | None, asked: schema.CreateToken) -> Narrowed:
    """Return to what the new token is narrowed. Raises Forbidden for one that is wider.

    What is not asked for is as in the token that makes it. One that is narrowed itself makes none that outlives it.
    """
    tenant = _tenant(person, asked.tenant)
    left = person.narrowing.capabilities if person.narrowing else None
    capabilities = left if asked.capabilities is None else _capabilities(asked.capabilities)
    if capabilities is not None and tenant is not None and capabilities & _EVERYWHERE:
        raise Invalid("token_capability_not_of_tenant", name=min(capabilities & _EVERYWHERE).value)
    if left is not None and capabilities is not None and not capabilities <= left:
        raise Forbidden("token_wider", name=min(capabilities - left).value)
    narrow = person.narrowing is not None and person.narrowing.narrow
    return Narrowed(tenant=tenant, capabilities=capabilities, until=maker.expires_at if narrow and maker else None)


def _tenant(person: Principal, name: str | None) -> TenantId | None:
    if name is None:
        return person.only_tenant
    found = next((member.tenant for member in person.memberships if member.name == name), None)
    if found is None:
        raise NotFound("tenant", name)
    if person.only_tenant not in {None, found}:
        raise Forbidden("token_wider", name=name)
    return found


def _capabilities(names: list[str]) -> frozenset[Permission]:
    known = {permission.value: permission for permission in NARROWABLE}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Invalid("capability_unknown", name=unknown[0], known=", ".join(sorted(known)))
    return frozenset(known[name] for name in names)
