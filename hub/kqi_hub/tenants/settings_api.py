"""Routes of what tenants are given: servers, and where their work runs."""

import json
from typing import Annotated

from fastapi import Path

from kqi import schema
from kqi_hub.i18n import text
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import TenantRow
from kqi_hub.tenants import access, placement, servers
from kqi_hub.tenants.placement import Platform
from kqi_hub.tenants.rows import ServerRow
from kqi_hub.tenants.service import TenantService
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.routes import Routes

routes = Routes("tenants")
TenantName = Annotated[str, Path(max_length=63)]
Use = Annotated[schema.ServerUse, Path()]
Tenants = Annotated[TenantService, feature(TenantService)]


@routes.get("/servers", permission=Permission.SIGNED_IN)
async def list_servers(call: Caller) -> schema.Page[schema.Server]:
    """List the git servers and registries that there are."""
    return schema.Page(items=[_server(row) for row in await servers.defined(call.session)])


@routes.put("/servers/{use}/{name}", permission=Permission.PLATFORM)
async def define_server(call: Caller, use: Use, name: TenantName, body: schema.DefineServer) -> schema.Server:
    """Make a server known, or change it."""
    return _server(await servers.define(call.act, use=use, name=name, kind=body.kind, url=body.url))


@routes.delete("/servers/{use}/{name}", permission=Permission.PLATFORM)
async def remove_server(call: Caller, use: Use, name: TenantName) -> None:
    await servers.remove(call.act, use=use, name=name)


@routes.get("/tenants/{tenant}/servers", permission=Permission.TENANT_READ)
async def get_tenant_servers(call: Caller, tenant: TenantName) -> schema.TenantServers:
    return await _servers(call, await access.governed(call.act, tenant, Permission.TENANT_READ))


@routes.put("/tenants/{tenant}/servers", permission=Permission.TENANT_MANAGE)
async def set_tenant_servers(call: Caller, tenant: TenantName, body: schema.SetTenantServers) -> schema.TenantServers:
    """Choose from what is defined; without names everything is offered."""
    lists = {"git": (body.git, body.git_default), "registry": (body.registry, body.registry_default)}
    return await _servers(call, await servers.give(call.act, tenant, lists))


@routes.get("/tenants/{tenant}/placement", permission=Permission.TENANT_READ)
async def get_placement(call: Caller, tenant: TenantName) -> schema.Placement:
    return _placement(call, await access.governed(call.act, tenant, Permission.TENANT_READ))


@routes.put("/tenants/{tenant}/placement", permission=Permission.TENANTS_MANAGE)
async def set_placement(
    call: Caller,
    tenant: TenantName,
    body: schema.SetPlacement,
    tenants: Tenants,
) -> schema.Placement:
    """Set cluster, nodes, mounts and limits; the answer says of each whether it is acted on here."""
    here = Platform.of(call.platform.settings)
    call.after.append(tenants.limits_changed)
    return _placement(call, await placement.place(call.act, tenant, body.expand, body.nodes, here))


async def _servers(call: Call, tenant: TenantRow) -> schema.TenantServers:
    git = await servers.of_tenant(call.session, tenant.id, "git")
    registry = await servers.of_tenant(call.session, tenant.id, "registry")
    chosen: list[schema.ServerUse] = [*(("git",) if git.own else ()), *(("registry",) if registry.own else ())]
    return schema.TenantServers(
        git=[_server(row) for row in git.servers],
        git_default=git.default,
        registry=[_server(row) for row in registry.servers],
        registry_default=registry.default,
        chosen=chosen,
    )


def _placement(call: Call, tenant: TenantRow) -> schema.Placement:
    found = placement.effects(tenant, Platform.of(call.platform.settings))
    return schema.Placement(
        expand=json.loads(tenant.expand),
        nodes=json.loads(tenant.nodes),
        effects=[
            schema.Effect(key=one.key, value=one.value, enforced=one.enforced, detail=text(one.why, call.language))
            for one in found
        ],
    )


def _server(row: ServerRow) -> schema.Server:
    return schema.Server.model_validate(row, from_attributes=True)
