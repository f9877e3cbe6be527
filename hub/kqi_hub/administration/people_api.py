"""Routes of people: list, make, change, suspend, hand over, delete."""

from typing import Annotated

from fastapi import Depends, Path, Query

from kqi import schema
from kqi_hub.administration import people, wire
from kqi_hub.administration.courier import check_can_send
from kqi_hub.administration.desk import Desk
from kqi_hub.administration.suspend import resume, suspend
from kqi_hub.errors import Conflict, Invalid
from kqi_hub.identity.policy import Permission
from kqi_hub.tenants import roles
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.paging import Cursor, Limit, page, text_after
from kqi_hub.web.routes import Routes
from kqi_spawner.workload import Secret

routes = Routes("people")
Feature = Annotated[Desk, feature(Desk)]
Name = Annotated[str, Path(max_length=64)]


def _search(query: Annotated[people.Search, Query()]) -> people.Search:
    return query


@routes.get("/admin/people", permission=Permission.PEOPLE_READ)
async def list_people(
    call: Caller,
    wanted: Annotated[people.Search, Depends(_search)],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schema.Page[schema.Somebody]:
    """List people by name; `q` searches name, display name and e-mail."""
    rows = await people.page(call.session, wanted, text_after(cursor), limit + 1)
    return page(rows, limit, lambda seen: seen.row.name, wire.somebody)


@routes.post("/admin/people", permission=Permission.PEOPLE_MANAGE, status=201)
async def create_person(call: Caller, desk: Feature, body: schema.CreateSomebody) -> schema.NewSomebody:
    """Make a local account. Its password works once; it is sent, or in this answer alone."""
    if body.send:
        check_can_send(desk.courier, body.email or "")
    async with call.platform.database.write() as session:
        row, password = await people.add(
            session,
            body.name,
            call.platform.settings.default_tenant,
            display_name=body.display_name or "",
            email=body.email or "",
        )
        act = call.acting(session)
        await act.note("person.create", f"person/{row.name}")
        if body.platform_role:
            await roles.give(act, row, body.platform_role)
        seen = await people.one(session, row.name)
    return await _with_password(call, desk, seen, password, send=body.send)


@routes.get("/admin/people/{name}", permission=Permission.PEOPLE_READ)
async def get_person(call: Caller, name: Name) -> schema.Somebody:
    return wire.somebody(await people.one(call.session, name))


@routes.patch("/admin/people/{name}", permission=Permission.PEOPLE_MANAGE)
async def change_person(call: Caller, name: Name, body: schema.ChangeSomebody) -> schema.Somebody:
    """Change what is given. The directory's own people keep the name and e-mail that it says."""
    row = await people.changeable(call.session, name, call.person)
    values = body.model_dump(exclude={"platform_role"})
    changed = await people.change(call.session, row, values)
    if changed:
        await call.note("person.change", f"person/{name}", fields=changed)
    if body.platform_role is not None:
        await roles.give(call.act, row, body.platform_role or None)
    return wire.somebody(await people.one(call.session, name))


@routes.post("/admin/people/{name}/password", permission=Permission.PEOPLE_MANAGE)
async def renew_password(call: Caller, desk: Feature, name: Name, body: schema.SendPassword) -> schema.NewSomebody:
    """Give a new password that works once."""
    async with call.platform.database.write() as session:
        row = await people.changeable(session, name, call.person)
        if body.send:
            check_can_send(desk.courier, row.email)
        password = await people.renew_password(session, row)
        await call.acting(session).note("person.password", f"person/{name}")
        seen = await people.one(session, name)
    return await _with_password(call, desk, seen, password, send=body.send)


@routes.post("/admin/people/{name}/unlock", permission=Permission.PEOPLE_MANAGE)
async def unlock_person(call: Caller, name: Name) -> schema.Somebody:
    """Let somebody try again at once who typed too many wrong passwords."""
    await people.unlock(call.session, await people.changeable(call.session, name, call.person))
    await call.note("person.unlock", f"person/{name}")
    return wire.somebody(await people.one(call.session, name))


@routes.post("/admin/people/{name}/suspend", permission=Permission.PEOPLE_MANAGE)
async def suspend_person(call: Caller, desk: Feature, name: Name, body: schema.Suspend) -> schema.Somebody:
    """End sessions, tokens, servers and runs of a person within a minute, and let no new ones begin; data stays."""
    row = await people.changeable(call.session, name, call.person)
    if row.id == call.person.person:
        raise Conflict("not_yourself")
    await roles.keep_an_administrator(call.session, row)
    await suspend(call.session, row, by=call.person.name, reason=body.reason)
    await call.note("person.suspend", f"person/{name}", reason=body.reason)
    call.after.append(desk.suspension.wake)
    return wire.somebody(await people.one(call.session, name))


@routes.post("/admin/people/{name}/resume", permission=Permission.PEOPLE_MANAGE)
async def resume_person(call: Caller, name: Name) -> schema.Somebody:
    """Let somebody sign in again who was suspended; what ended stays ended."""
    row = await people.changeable(call.session, name, call.person)
    await resume(call.session, row)
    await call.note("person.resume", f"person/{name}")
    return wire.somebody(await people.one(call.session, name))


@routes.post("/admin/people/{name}/hand-over", permission=Permission.PEOPLE_MANAGE, status=202)
async def hand_over(call: Caller, desk: Feature, name: Name, body: schema.HandOver) -> schema.Errand:
    """Give all that a person owns to another one, in the background."""
    await people.changeable(call.session, name, call.person)
    row = await desk.leaving.ask_hand_over(call.session, name, body.to, call.person, homes=body.homes)
    await call.note("person.hand_over", f"person/{name}", to=body.to, homes=body.homes, errand=row.id)
    call.after.append(desk.errands.wake)
    return wire.errand(row)


@routes.post("/admin/people/{name}/delete", permission=Permission.PEOPLE_MANAGE, status=202)
async def delete_person(call: Caller, desk: Feature, name: Name, body: schema.DeleteSomebody) -> schema.Errand:
    """Delete a person, in the background, with a report. Refused while they own something, unless `confirm` says so."""
    await people.changeable(call.session, name, call.person)
    for given in (body.confirm, body.erase_homes):
        if given is not None and given != name:
            raise Invalid("name_not_repeated", name=name)
    asked = {"things": body.confirm is not None, "homes": body.erase_homes is not None}
    row = await desk.leaving.ask_delete(call.session, name, call.person, asked=asked)
    await call.note("person.delete", f"person/{name}", errand=row.id, **asked)
    call.after += [desk.suspension.wake, desk.errands.wake]
    return wire.errand(row)


async def _with_password(
    call: Call, desk: Desk, seen: people.Seen, password: Secret, *, send: bool
) -> schema.NewSomebody:
    """Send the password, after the commit; where that fails it is shown, for it is known nowhere else."""
    sent = send and await wire.sent(
        desk.courier,
        seen.row.email,
        "mail.first_password",
        seen.row.language or call.language,
        name=seen.row.name,
        password=password.reveal(),
        url=call.platform.settings.url,
    )
    return schema.NewSomebody(person=wire.somebody(seen), password=None if sent else password.reveal(), sent=sent)
