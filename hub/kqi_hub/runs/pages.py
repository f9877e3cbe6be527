"""The front page: what is at work, and the ways on."""

from typing import Annotated

from fastapi import Response

from kqi_hub.accounts.pages import addresses, signed_in
from kqi_hub.db.scope import TenantScope
from kqi_hub.identity.policy import Permission
from kqi_hub.runs import store
from kqi_hub.runs.model import Kind
from kqi_hub.runs.store import Filter, Search
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.hub_session import HubSession
from kqi_hub.web.render import page
from kqi_hub.web.routes import Routes

routes = Routes("home")
_SHOWN = 10


@routes.get("/", permission=Permission.PUBLIC, response_class=Response)
async def home(call: Caller, session: Annotated[HubSession, feature(HubSession)]) -> Response:
    person = await signed_in(call)
    if person is None:
        return session.begin(call.request, "/services/kqi/")
    tenants = person.tenants(Permission.RUN_READ).values()
    scope = TenantScope(call.session, person=person.person, tenants=tenants, tenant=person.default_tenant)
    keys = await store.page(scope, Filter(kind=Kind.TRAINING, search=Search(), limit=_SHOWN))
    runs = await store.several(scope, keys)
    return page(call, "home.html", person=person.name, display_name=person.display_name, runs=runs, **addresses(call))
