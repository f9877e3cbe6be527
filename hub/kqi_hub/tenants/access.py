"""Which tenant somebody means, and whether they may do what they are about to do there."""

from kqi_hub.audit.act import Act
from kqi_hub.errors import Conflict, Forbidden, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.model import Membership
from kqi_hub.identity.policy import LOOKS, OVER, Permission
from kqi_hub.identity.rows import TenantRow


def membership(act: Act, tenant: TenantRow) -> Membership | None:
    if act.person.only_tenant not in {None, tenant.id}:
        return None
    return next((member for member in act.person.memberships if member.tenant == tenant.id), None)


def governs(act: Act, permission: Permission) -> bool:
    """Return whether the person has a right over the platform that is as good in every tenant."""
    return act.person.may(OVER.get(permission, permission))


async def visible(act: Act, name: str) -> TenantRow:
    """Return a tenant that the person may know of. Raises NotFound."""
    tenant = await people.tenant_named(act.session, name)
    if tenant is None:
        raise NotFound("tenant", name)
    open_to_all = tenant.open and tenant.archived_at is None and act.person.only_tenant is None
    if not open_to_all and membership(act, tenant) is None and not governs(act, Permission.TENANT_READ):
        raise NotFound("tenant", name)
    return tenant


async def governed(act: Act, name: str, permission: Permission, *, archived: bool = False) -> TenantRow:
    """Return the tenant if the person has the right there. Raises NotFound to who is not in it, else Forbidden.

    With `archived` it may be in the archive, though the right is one to change things.
    """
    tenant = await people.tenant_named(act.session, name)
    member = membership(act, tenant) if tenant else None
    if tenant is None or (member is None and not governs(act, permission)):
        raise NotFound("tenant", name)
    allowed = member is not None and permission in member.permissions and act.person.lets(permission)
    if not allowed and not governs(act, permission):
        raise Forbidden("not_permitted", tenant=tenant.id, permission=permission.value)
    if tenant.archived_at is not None and not archived and permission not in LOOKS:
        raise Conflict("tenant_archived")
    return tenant
