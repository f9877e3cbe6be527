"""The front page: what is at work, and the ways on."""

from contextlib import suppress
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import RedirectResponse

from kqi.schema import Phase, StopMode
from kqi_hub.accounts.pages import HOME, addresses, signed_in
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Conflict
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import Permission
from kqi_hub.runs import api, store, view
from kqi_hub.runs.model import Kind
from kqi_hub.runs.store import Filter, Search
from kqi_hub.terms import service as terms
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.hub_session import COOKIE, HubSession
from kqi_hub.web.render import page
from kqi_hub.web.routes import Routes

routes = Routes("home")
_SHOWN = 10


@routes.get("/", permission=Permission.PUBLIC, response_class=Response)
async def home(
    call: Caller, session: Annotated[HubSession, feature(HubSession)], still: Annotated[bool, Query()] = False
) -> Response:
    """The front page, which loads itself anew while something of one's own begins or ends, unless it is to be still."""
    person = await signed_in(call)
    if person is None:
        return session.begin(call.request, HOME)
    if await terms.keeps_out(call.session, person.person):
        return RedirectResponse(f"/hub/kqi/terms?next={HOME}", 303)
    tenants = person.tenants(Permission.RUN_READ).values()
    scope = TenantScope(call.session, person=person.person, tenants=tenants, tenant=person.default_tenant)
    keys = await store.page(scope, Filter(kind=Kind.TRAINING, search=Search(), limit=_SHOWN))
    mine = await store.at_work(scope, Kind.NOTEBOOK, person.person)
    notebooks = [
        {
            "number": run.number,
            "title": run.title,
            "phase": Phase.STOPPING.value if run.stop else run.phase.value,
            "address": None if run.stop else view.address(run),
        }
        for run in mine
    ]
    return page(
        call,
        "home.html",
        person=person.name,
        display_name=person.display_name,
        notebooks=notebooks,
        own_server=any(run.server == "" for run in mine),
        moving=not still and any(run.stop or run.phase is not Phase.RUNNING for run in mine),
        runs=await store.several(scope, keys),
        tenants=_to_begin_in(person),
        csrf=session.csrf(call.request.cookies.get(COOKIE, "")),
        **addresses(call),
    )


def _to_begin_in(person: Principal) -> list[dict[str, object]]:
    """Return the tenants that may be switched to, and the one where one is, by the names that people see."""
    return sorted(
        (
            {"name": member.name, "title": member.display_name, "current": member.tenant == person.default_tenant}
            for member in person.memberships
            if not member.archived or member.tenant == person.default_tenant
        ),
        key=lambda one: (str(one["title"]), str(one["name"])),
    )


@routes.post("/notebooks/{number}/stop", permission=Permission.RUN_CONTROL, response_class=Response)
async def stop_from_home(call: Caller, number: api.Number, runs: api.Feature) -> Response:
    with suppress(Conflict):  # ended in the meantime
        await api.stop(call, runs, Kind.NOTEBOOK, number, StopMode.CANCEL)
    return RedirectResponse(HOME, 303)
