"""Git servers and registries: what an administrator defines, and what a tenant's people choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import TenantRow
from kqi_hub.tenants import access
from kqi_hub.tenants.model import SERVER_KINDS, check_server_name
from kqi_hub.tenants.rows import ServerRow, TenantServerRow


async def defined(session: AsyncSession, use: str | None = None) -> Sequence[ServerRow]:
    query = select(ServerRow).order_by(ServerRow.use, ServerRow.name)
    return (await session.scalars(query if use is None else query.where(ServerRow.use == use))).all()


async def define(act: Act, *, use: str, name: str, kind: str, url: str) -> ServerRow:
    """Make a server known by this name, or change it."""
    check_server_name(name)
    if kind not in SERVER_KINDS[use]:
        raise Invalid("server_kind", use=use, kind=kind, known=", ".join(SERVER_KINDS[use]))
    _check_url(url)
    row = await _named(act.session, use, name) or ServerRow(use=use, name=name)
    row.kind, row.url = kind, url.rstrip("/")
    act.session.add(row)
    await act.session.flush()
    await act.note("server.define", f"server/{use}/{name}", kind=kind, url=row.url)
    return row


async def remove(act: Act, *, use: str, name: str) -> None:
    """Forget a server. Raises Conflict while it is in the list of a tenant."""
    row = await _named(act.session, use, name)
    if row is None:
        raise NotFound("server", name)
    query = select(TenantRow.name).join(TenantServerRow, TenantServerRow.tenant_id == TenantRow.id)
    tenant = await act.session.scalar(query.where(TenantServerRow.server_id == row.id).limit(1))
    if tenant is not None:
        raise Conflict("server_in_use", name=name, tenant=tenant)
    await act.session.delete(row)
    await act.note("server.remove", f"server/{use}/{name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a tenant's people choose from; `own`: from a list of the tenant's, else from all that is defined."""

    servers: Sequence[ServerRow]
    default: str | None
    own: bool


async def of_tenant(session: AsyncSession, tenant: int, use: str) -> Offered:
    query = select(ServerRow, TenantServerRow.chosen).join(TenantServerRow, TenantServerRow.server_id == ServerRow.id)
    query = query.where(TenantServerRow.tenant_id == tenant, ServerRow.use == use).order_by(ServerRow.name)
    found = [(row, chosen) for row, chosen in await session.execute(query)]
    rows = [row for row, _ in found] or list(await defined(session, use))
    chosen = next((row.name for row, chosen in found if chosen), rows[0].name if rows else None)
    return Offered(servers=rows, default=chosen, own=bool(found))


async def give(act: Act, tenant_name: str, lists: Mapping[str, tuple[Sequence[str], str | None]]) -> TenantRow:
    """Set a tenant's servers: use → names and default. Without a default the first one is it."""
    tenant = await access.governed(act, tenant_name, Permission.TENANT_MANAGE)
    await act.session.execute(delete(TenantServerRow).where(TenantServerRow.tenant_id == tenant.id))
    for use, (names, chosen) in lists.items():
        if chosen is not None and chosen not in names:
            raise Invalid("server_default_not_listed", name=chosen)
        for name in dict.fromkeys(names):
            row = await _named(act.session, use, name)
            if row is None:
                raise Invalid("server_unknown", name=name)
            default = name == (chosen or names[0])
            act.session.add(TenantServerRow(tenant_id=tenant.id, server_id=row.id, chosen=default))
    await act.session.flush()
    said = {use: list(names) for use, (names, _) in lists.items()}
    await act.note("tenant.servers", f"tenant/{tenant.name}", tenant=tenant.id, **said)
    return tenant


def _check_url(url: str) -> None:
    """Raise Invalid for what is no address of a server; what it says shows no password."""
    try:
        address = urlsplit(url)
        host, _ = address.hostname or "", address.port
    except ValueError as error:
        raise Invalid("server_url", url=f"{url.partition('://')[0][:16]}://") from error
    if address.scheme not in {"http", "https"} or not host or address.username or address.password:
        raise Invalid("server_url", url=f"{address.scheme}://{host}")


async def _named(session: AsyncSession, use: str, name: str) -> ServerRow | None:
    query = select(ServerRow).where(ServerRow.use == use, ServerRow.name == name)
    return (await session.scalars(query)).one_or_none()
