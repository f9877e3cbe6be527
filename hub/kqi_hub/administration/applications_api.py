"""Routes of applications and errands."""

from typing import Annotated

from fastapi import Path, Response

from kqi import schema
from kqi_hub.administration import applications, errands, people, wire
from kqi_hub.administration.courier import check_can_send
from kqi_hub.administration.desk import Desk
from kqi_hub.directory.one_time import for_a_directory, one_time_password
from kqi_hub.identity.applications import APPROVED, DECLINED
from kqi_hub.identity.policy import Permission
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.paging import Cursor, Limit, number_after, page
from kqi_hub.web.routes import Routes

routes = Routes("applications")
Feature = Annotated[Desk, feature(Desk)]
Number = Annotated[int, Path(ge=1, le=2**53 - 1)]
_MOST = 10_000


@routes.get("/admin/applications", permission=Permission.PEOPLE_READ)
async def list_applications(
    call: Caller, state: schema.ApplicationState | None = None, limit: Limit = 100, cursor: Cursor = None
) -> schema.Page[schema.Application]:
    """List those who asked for an account, the oldest first."""
    wanted = state.value if state else None
    rows = await applications.page(call.session, state=wanted, after=number_after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, wire.application)


@routes.get(
    "/admin/applications/ldif",
    permission=Permission.PEOPLE_READ,
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "LDIF, RFC 2849"}},
)
async def export_applications(call: Caller, state: schema.ApplicationState | None = None) -> Response:
    """Return applications as LDIF, those that wait unless another state is asked for.

    Hashes of first passwords are in it for those who may make accounts.
    """
    wanted = (state or schema.ApplicationState.WAITING).value
    rows = await applications.page(call.session, state=wanted, after=None, limit=_MOST)
    settings = call.platform.settings.applications
    passwords = call.person.may(Permission.PEOPLE_MANAGE)
    target = applications.Target(base=settings.ldif_base, passwords=passwords, must_change=settings.ldif_must_change)
    return Response(applications.ldif(rows, target), media_type="text/plain; charset=utf-8")


@routes.post("/admin/applications/{number}/approve", permission=Permission.PEOPLE_MANAGE)
async def approve_application(
    call: Caller, desk: Feature, number: Number, body: schema.ApproveApplication
) -> schema.ApprovedApplication:
    """Make the account. Its password works once; it is sent, or in this answer alone.

    For an account that is made elsewhere there is one only if it is to be sent; the exported LDIF then has its hash.
    """
    password = one_time_password() if body.send and not body.make else None
    password_hash = for_a_directory(password) if password else ""
    async with call.platform.database.write() as session:
        row = await applications.waiting(session, number)
        if body.send:
            check_can_send(desk.courier, row.email)
        if body.make:
            tenant = call.platform.settings.default_tenant
            person, password = await people.add(session, body.user, tenant, display_name=row.name, email=row.email)
            person.language = row.language
        row.password_hash = password_hash
        applications.decide(row, APPROVED, by=call.person.name, user=body.user)
        act = call.acting(session)
        await act.note("application.approve", f"application/{number}", user=body.user, made=body.make)
        shown = wire.application(row)
    if password is None:
        return schema.ApprovedApplication(application=shown, password=None)
    sent = body.send and await wire.sent(
        desk.courier,
        shown.email,
        "mail.first_password",
        shown.language,
        name=body.user,
        password=password.reveal(),
        url=call.platform.settings.url,
    )
    return schema.ApprovedApplication(application=shown, password=None if sent else password.reveal(), sent=sent)


@routes.post("/admin/applications/{number}/decline", permission=Permission.PEOPLE_MANAGE)
async def decline_application(call: Caller, number: Number, body: schema.DeclineApplication) -> schema.Application:
    row = await applications.waiting(call.session, number)
    applications.decide(row, DECLINED, by=call.person.name, reason=body.reason)
    await call.note("application.decline", f"application/{number}", reason=body.reason)
    return wire.application(row)


@routes.get("/admin/errands", permission=Permission.PEOPLE_READ)
async def list_errands(call: Caller, limit: Limit = 100, cursor: Cursor = None) -> schema.Page[schema.Errand]:
    """List what is and was done in the background, newest first."""
    rows = await errands.page(call.session, before=number_after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, wire.errand)


@routes.get("/admin/errands/{number}", permission=Permission.PEOPLE_READ)
async def get_errand(call: Caller, number: Number) -> schema.Errand:
    return wire.errand(await errands.one(call.session, number))
