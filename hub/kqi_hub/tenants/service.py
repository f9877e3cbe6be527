"""Make, change and archive tenants."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.clock import now
from kqi_hub.errors import Conflict
from kqi_hub.identity import people
from kqi_hub.identity.policy import MANAGER, Permission
from kqi_hub.identity.rows import MembershipRow, TenantRow
from kqi_hub.tenants import access
from kqi_hub.tenants.model import check_name
from kqi_hub.tenants.rows import ErasureRow, JoinRequestRow

# How many runs of a tenant, or of others with what is its, are at work.
Busy = Callable[[AsyncSession, int], Awaitable[int]]


async def _idle(_session: AsyncSession, _tenant: int) -> int:
    return 0


@dataclass(slots=True, kw_only=True)
class TenantService:
    """`busy` and `limits_changed` are wired by bootstrap to the features above that know, and that act on it."""

    default: str
    busy: Busy = field(default=_idle)
    limits_changed: Callable[[], None] = field(default=lambda: None)

    async def create(self, act: Act, *, name: str, display_name: str, description: str, open_: bool) -> TenantRow:
        """Make a tenant; who makes it manages it."""
        check_name(name)
        if await people.tenant_named(act.session, name) is not None:
            raise Conflict("tenant_exists", name=name)
        tenant = TenantRow(name=name, display_name=display_name or name, description=description, open=open_)
        tenant.created_by, tenant.created_at = act.person.person, now()
        act.session.add(tenant)
        await act.session.flush()
        act.session.add(MembershipRow(person_id=act.person.person, tenant_id=tenant.id, role=MANAGER))
        await act.session.flush()
        await act.note("tenant.create", f"tenant/{name}", tenant=tenant.id)
        return tenant

    async def change(
        self, act: Act, name: str, *, display_name: str | None, description: str | None, open_: bool | None
    ) -> TenantRow:
        """None leaves one as it is."""
        tenant = await access.governed(act, name, Permission.TENANT_MANAGE)
        tenant.display_name = tenant.display_name if display_name is None else display_name
        tenant.description = tenant.description if description is None else description
        tenant.open = tenant.open if open_ is None else open_
        await act.session.flush()
        await act.note("tenant.change", f"tenant/{name}", tenant=tenant.id)
        return tenant

    async def archive(self, act: Act, name: str) -> TenantRow:
        """Make it read-only. Raises Conflict for the default one, and while anything of it is at work. Idempotent."""
        tenant = await access.governed(act, name, Permission.TENANT_MANAGE, archived=True)
        self.check_not_default(tenant)
        if tenant.archived_at is None:
            await self.check_idle(act.session, tenant)
            tenant.archived_at = now()
            # Nobody can be let in any more, so nobody waits for it.
            await act.session.execute(delete(JoinRequestRow).where(JoinRequestRow.tenant_id == tenant.id))
            await act.note("tenant.archive", f"tenant/{name}", tenant=tenant.id)
        return tenant

    async def unarchive(self, act: Act, name: str) -> TenantRow:
        tenant = await access.governed(act, name, Permission.TENANT_MANAGE, archived=True)
        going = select(ErasureRow.id).where(ErasureRow.tenant_id == tenant.id, ErasureRow.finished_at.is_(None))
        if (await act.session.execute(going)).first() is not None:
            raise Conflict("tenant_being_erased", name=name)
        if tenant.archived_at is not None:
            tenant.archived_at = None
            await act.note("tenant.unarchive", f"tenant/{name}", tenant=tenant.id)
        return tenant

    def check_not_default(self, tenant: TenantRow) -> None:
        if tenant.name == self.default:
            raise Conflict("tenant_default", name=tenant.name)

    async def check_idle(self, session: AsyncSession, tenant: TenantRow) -> None:
        running = await self.busy(session, tenant.id)
        if running:
            raise Conflict("tenant_busy", name=tenant.name, runs=running)
