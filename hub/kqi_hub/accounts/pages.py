"""Pages of the service until the console takes over: front page, client, approval of a program's sign-in."""

from typing import Annotated, Literal

from fastapi import Form, Query, Response
from fastapi.responses import RedirectResponse

from kqi import schema
from kqi_hub.accounts import api, devices
from kqi_hub.environments import client_wheel
from kqi_hub.errors import Forbidden, NotFound
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import Permission
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.hub_session import COOKIE, HubSession
from kqi_hub.web.render import page
from kqi_hub.web.routes import Routes

routes = Routes("pages")
Session = Annotated[HubSession, feature(HubSession)]
Code = Annotated[str, Query(max_length=20)]
HOME = "/services/kqi/"


async def signed_in(call: Call) -> Principal | None:
    """Return who the browser is, and speak their language from here on."""
    principal = await call.platform.browser.principal(call.request)
    if principal is not None:
        call.speak(principal.language)
        if principal.suspended:
            raise Forbidden("account_disabled")
    return principal


@routes.get("/oauth_callback", permission=Permission.PUBLIC, response_class=Response)
async def oauth_callback(call: Caller, session: Session) -> Response:
    return await session.finish(call.request)


@routes.get("/client", permission=Permission.PUBLIC, response_class=Response)
async def client(call: Caller) -> Response:
    """How a laptop gets the command line; for everybody who can reach the platform."""
    person = await signed_in(call)
    return page(call, "client.html", person=person.name if person else None, **addresses(call))


@routes.get("/client/{name}", permission=Permission.PUBLIC, response_class=Response)
async def client_file(call: Caller, name: str) -> Response:
    if name != client_wheel.NAME:
        raise NotFound("file", name)
    return Response(client_wheel.wheel(), media_type="application/zip")


@routes.get("/device", permission=Permission.PUBLIC, response_class=Response)
async def device(call: Caller, session: Session, code: Code = "") -> Response:
    """Ask whether a program may sign in as the person at this browser."""
    person = await signed_in(call)
    if person is None:
        return session.begin(call.request, f"/services/kqi/device?code={code}" if code else "/services/kqi/device")
    found = None
    if code:
        try:
            found = await devices.waiting(call.session, code)
        except NotFound:
            found = None
    csrf = session.csrf(call.request.cookies.get(COOKIE, ""))
    name = found.client if found else None
    shown = found.user_code if found else code
    return page(call, "device.html", person=person.name, client=name, code=shown, csrf=csrf, done=None)


@routes.post("/device", permission=Permission.ACCOUNT_MANAGE, response_class=Response)
async def answer_device(call: Caller, code: Code, answer: Literal["approve", "deny"]) -> Response:
    """Let a program in, or not. What it gets may do all, so nothing that is narrowed may let it in."""
    if call.person.narrowing is not None and call.person.narrowing.narrow:
        raise Forbidden("token_wider", name="*")
    await devices.answer(call.session, code, call.person.person, approved=answer == "approve")
    await call.note(f"device.{answer}", f"person/{call.person.name}")
    done = "approved" if answer == "approve" else "denied"
    return page(call, "device.html", person=call.person.name, client=None, code="", csrf="", done=done)


@routes.post("/tenant", permission=Permission.ACCOUNT_MANAGE, response_class=Response)
async def switch_tenant(call: Caller, tenant: Annotated[schema.OneLine, Form()]) -> Response:
    """Begin in another of one's tenants from here on, as a change of the profile does."""
    await api.change_me(call, schema.ChangePerson(default_tenant=tenant))
    return RedirectResponse(HOME, 303)


@routes.get("/session", permission=Permission.SIGNED_IN, response_class=Response)
async def session_token(call: Caller, session: Session) -> Response:
    """Give scripts of our own pages the token that changes need."""
    return Response(session.csrf(call.request.cookies.get(COOKIE, "")), media_type="text/plain")


@routes.get("", permission=Permission.PUBLIC, response_class=Response)
async def without_slash(call: Caller) -> Response:
    return RedirectResponse(HOME, 307)


def addresses(call: Call) -> dict[str, str]:
    server = call.platform.settings.url
    return {"server": server, "wheel": f"{server}/services/kqi/client/{client_wheel.NAME}"}
