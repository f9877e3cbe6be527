"""Routes of shares: the same for every kind of thing."""

from typing import Annotated

from fastapi import Path

from kqi import schema
from kqi_hub.sharing import service
from kqi_hub.sharing.service import Named
from kqi_hub.sharing.things import TABLE, Shareable
from kqi_hub.web.call import Caller
from kqi_hub.web.routes import Routes

Number = Annotated[int, Path(ge=1, le=2**53 - 1)]
routes = Routes("shares")


def register(name: str, of: Shareable) -> None:
    base = f"/{of.plural}/{{number}}/shares"

    async def list_shares(call: Caller, number: Number) -> schema.Page[schema.Share]:
        """List with whom it is shared."""
        thing = await of.find(call.scope, number)
        return schema.Page(items=[_share(found) for found in await service.shares(call.session, thing)])

    async def create_share(call: Caller, number: Number, body: schema.ShareWith) -> schema.Share:
        """Share it with a person or with everybody in a tenant; only its owner, and who may change all, can."""
        scope = call.scope
        thing = await of.find(scope, number)
        row = await service.share(scope, thing, person=body.person, tenant=body.tenant, access=body.access)
        return _share((row, body.person, body.tenant, call.person.name))

    async def delete_share(call: Caller, number: Number, share_id: Number) -> None:
        scope = call.scope
        await service.unshare(scope, await of.find(scope, number), share_id)

    for handler in (list_shares, create_share, delete_share):
        handler.__name__ = handler.__name__.replace("share", f"{name}_share")
    routes.get(base, permission=of.see)(list_shares)
    routes.post(base, permission=of.change, status=201)(create_share)
    routes.delete(f"{base}/{{share_id}}", permission=of.change)(delete_share)


def _share(found: Named) -> schema.Share:
    row, person, tenant, sharer = found
    access: schema.ShareAccess = "write" if row.access == "write" else "read"
    return schema.Share(
        id=row.id, person=person, tenant=tenant, access=access, created_by=sharer, created_at=row.created_at
    )


for _name, _of in TABLE.items():
    register(_name, _of)
