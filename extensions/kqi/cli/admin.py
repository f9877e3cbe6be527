"""Commands of administrators: people, sessions, errands, and applications."""

from dataclasses import dataclass
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import Code, leave
from kqi.cli.output import Cell
from kqi.cli.session import Session
from kqi.client.administration import PeopleFilter
from kqi.schema import (
    ApplicationState,
    ApproveApplication,
    ChangeSomebody,
    CreateSomebody,
    DeclineApplication,
    DeleteSomebody,
    Errand,
    ErrandState,
    HandOver,
    NewSomebody,
    SendPassword,
    Somebody,
    SomebodysState,
    Suspend,
)

commands = Commands()
REPORT = {
    "handed_over": "cli.admin.report.handed_over",
    "manager_of": "cli.admin.report.manager_of",
    "left": "cli.admin.report.left",
    "deleted": "cli.admin.report.deleted",
    "kept_for_others": "cli.admin.report.kept_for_others",
    "folders": "cli.admin.report.folders",
    "folders_deleted": "cli.admin.report.folders_deleted",
}
Name = Annotated[str, Arg("cli.admin.name", "NAME")]
Send = Annotated[bool, Opt("cli.admin.send", ("--send",))]
Number = Annotated[int, Arg("cli.admin.number", "ID")]
Limit = Annotated[int | None, Opt("cli.admin.limit", metavar="N")]


@dataclass(frozen=True, kw_only=True)
class Which:
    q: Annotated[str | None, Opt("cli.admin.q", ("--search", "-q"), "TEXT")] = None
    state: Annotated[SomebodysState | None, Opt("cli.admin.state")] = None
    source: Annotated[str | None, Opt("cli.admin.source", metavar="NAME")] = None
    role: Annotated[str | None, Opt("cli.admin.role", metavar="ROLE")] = None


@commands.add("admin people list", "cli.admin.people.list.help")
def list_people(session: Session, which: Which, limit: Limit = None) -> None:
    where = PeopleFilter(q=which.q, state=which.state, source=which.source, role=which.role)
    found = list(session.client.admin.people.list(where, limit))
    heads = ("cli.field.name", "cli.field.display_name", "cli.field.email", "cli.field.source", "cli.field.state")
    rows = [(item.name, item.display_name, item.email, item.source, item.state.value, _roles(item)) for item in found]
    session.out.table(found, (*heads, "cli.field.platform_role"), rows)


@commands.add("admin people show", "cli.admin.people.show.help")
def show_person(session: Session, name: Name) -> None:
    _person(session, session.client.admin.people.get(name))


@commands.add("admin people create", "cli.admin.people.create.help")
def create_person(
    session: Session,
    name: Name,
    display_name: Annotated[str | None, Opt("cli.admin.display_name", metavar="TEXT")] = None,
    email: Annotated[str | None, Opt("cli.admin.email", metavar="ADDRESS")] = None,
    role: Annotated[str | None, Opt("cli.admin.platform_role", metavar="ROLE")] = None,
    send: Send = False,
) -> None:
    body = CreateSomebody(name=name, display_name=display_name, email=email, platform_role=role, send=send)
    _password(session, session.client.admin.people.create(body))


@commands.add("admin people edit", "cli.admin.people.edit.help")
def edit_person(
    session: Session,
    name: Name,
    display_name: Annotated[str | None, Opt("cli.admin.display_name", metavar="TEXT")] = None,
    email: Annotated[str | None, Opt("cli.admin.email", metavar="ADDRESS")] = None,
    role: Annotated[str | None, Opt("cli.admin.platform_role", metavar="ROLE")] = None,
    default_tenant: Annotated[str | None, Opt("cli.admin.default_tenant", metavar="NAME")] = None,
) -> None:
    body = ChangeSomebody(display_name=display_name, email=email, platform_role=role, default_tenant=default_tenant)
    _person(session, session.client.admin.people.edit(name, body))


@commands.add("admin people password", "cli.admin.people.password.help")
def renew_password(session: Session, name: Name, send: Send = False) -> None:
    _password(session, session.client.admin.people.renew_password(name, SendPassword(send=send)))


@commands.add("admin people unlock", "cli.admin.people.unlock.help")
def unlock_person(session: Session, name: Name) -> None:
    _person(session, session.client.admin.people.unlock(name))


@commands.add("admin people suspend", "cli.admin.people.suspend.help")
def suspend_person(
    session: Session, name: Name, reason: Annotated[str, Opt("cli.admin.reason", metavar="TEXT")] = ""
) -> None:
    _person(session, session.client.admin.people.suspend(name, Suspend(reason=reason)))


@commands.add("admin people resume", "cli.admin.people.resume.help")
def resume_person(session: Session, name: Name) -> None:
    _person(session, session.client.admin.people.resume(name))


@commands.add("admin people hand-over", "cli.admin.people.hand_over.help")
def hand_over(
    session: Session,
    name: Name,
    to: Annotated[str, Arg("cli.admin.to", "TO")],
    homes: Annotated[bool, Opt("cli.admin.homes", ("--homes",))] = False,
) -> None:
    _errand(session, session.client.admin.people.hand_over(name, HandOver(to=to, homes=homes)))


@commands.add("admin people delete", "cli.admin.people.delete.help")
def delete_person(
    session: Session,
    name: Name,
    confirm: Annotated[str | None, Opt("cli.admin.confirm", metavar="NAME")] = None,
    erase_homes: Annotated[str | None, Opt("cli.admin.erase_homes", metavar="NAME")] = None,
) -> None:
    body = DeleteSomebody(confirm=confirm, erase_homes=erase_homes)
    _errand(session, session.client.admin.people.delete(name, body))


@commands.add("admin sessions list", "cli.admin.sessions.list.help")
def list_sessions(
    session: Session, person: Annotated[str | None, Opt("cli.admin.person", metavar="NAME")] = None
) -> None:
    found = list(session.client.admin.sessions.list(person))
    heads = ("cli.field.id", "cli.field.person", "cli.field.kind", "cli.field.name", "cli.field.address")
    rows = [(item.id, item.person, item.kind, item.name[:40], item.address, item.used_at) for item in found]
    session.out.table(found, (*heads, "cli.field.last_used_at"), rows)


@commands.add("admin sessions end", "cli.admin.sessions.end.help")
def end_sessions(
    session: Session, person: Name, number: Annotated[str | None, Opt("cli.admin.session", ("--id",), "ID")] = None
) -> None:
    sessions = session.client.admin.sessions
    if number is None:
        ended = sessions.end_all(person).ended
    else:
        sessions.end(person, number)
        ended = 1
    session.out.done({"person": person, "ended": ended}, "cli.admin.sessions.ended")


@commands.add("admin errands list", "cli.admin.errands.list.help")
def list_errands(session: Session, limit: Limit = 100) -> None:
    found = list(session.client.admin.errands.list(limit))
    heads = ("cli.field.id", "cli.field.kind", "cli.field.object", "cli.field.state", "cli.field.by")
    rows = [(item.id, item.kind, item.about, item.state.value, item.by, item.at) for item in found]
    session.out.table(found, (*heads, "cli.field.created_at"), rows)


@commands.add("admin errands show", "cli.admin.errands.show.help")
def show_errand(session: Session, number: Number) -> None:
    _errand(session, session.client.admin.errands.get(number))


@dataclass(frozen=True, kw_only=True)
class Exported:
    state: Annotated[ApplicationState | None, Opt("cli.admin.application_state")] = None
    ldif: Annotated[bool, Opt("cli.admin.ldif", ("--ldif",))] = False


@commands.add("admin applications list", "cli.admin.applications.list.help")
def list_applications(
    session: Session,
    state: Annotated[ApplicationState | None, Opt("cli.admin.application_state")] = ApplicationState.WAITING,
) -> None:
    found = list(session.client.admin.applications.list(state))
    heads = ("cli.field.id", "cli.field.created_at", "cli.field.name", "cli.field.email", "cli.field.category")
    rows = [
        (item.id, item.at, item.name, item.email, item.category, item.affiliation, item.state.value) for item in found
    ]
    session.out.table(found, (*heads, "cli.field.affiliation", "cli.field.state"), rows)


@commands.add("admin applications approve", "cli.admin.applications.approve.help")
def approve_application(
    session: Session,
    number: Number,
    user: Annotated[str, Opt("cli.admin.user", metavar="NAME")],
    send: Send = False,
    elsewhere: Annotated[bool, Opt("cli.admin.elsewhere", ("--elsewhere",))] = False,
) -> None:
    body = ApproveApplication(user=user, make=not elsewhere, send=send)
    made = session.client.admin.applications.approve(number, body)
    if made.password:
        session.out.tell("cli.admin.password_once")
    session.out.answer(made, [("cli.field.name", user), ("cli.field.password", made.password)])


@commands.add("admin applications decline", "cli.admin.applications.decline.help")
def decline_application(
    session: Session, number: Number, reason: Annotated[str, Opt("cli.admin.decline_reason", metavar="TEXT")]
) -> None:
    found = session.client.admin.applications.decline(number, DeclineApplication(reason=reason))
    session.out.done(found.model_dump(mode="json"), "cli.admin.applications.declined")


@commands.add("admin applications export", "cli.admin.applications.export.help")
def export_applications(session: Session, how: Exported) -> None:
    """LDIF is all that there is; `--ldif` says so, for the day on which there is another form."""
    text = session.client.admin.applications.ldif(how.state)
    if session.out.machine:
        session.out.json({"ldif": text})
    else:
        session.out.text(text)


def _person(session: Session, found: Somebody) -> None:
    rows: list[tuple[str, Cell]] = [
        ("cli.field.name", found.name),
        ("cli.field.display_name", found.display_name),
        ("cli.field.email", found.email),
        ("cli.field.source", found.source),
        ("cli.field.state", found.state.value),
        ("cli.field.platform_role", _roles(found)),
        ("cli.field.tenants", ", ".join(found.tenants)),
        ("cli.field.created_at", found.created_at),
        ("cli.field.signed_in_at", found.signed_in_at),
        ("cli.field.suspended_by", found.suspended_by),
        ("cli.field.reason", found.suspended_for),
    ]
    session.out.answer(found, rows)


def _password(session: Session, made: NewSomebody) -> None:
    session.out.tell("cli.admin.password_once" if made.password else "cli.admin.password_sent")
    session.out.answer(made, [("cli.field.name", made.person.name), ("cli.field.password", made.password)])


def _errand(session: Session, errand: Errand) -> None:
    """Wait until it has ended, and show the report."""
    done = session.client.admin.errands.wait(errand.id)
    rows: list[tuple[str, Cell]] = [
        ("cli.field.id", done.id),
        ("cli.field.object", done.about),
        ("cli.field.state", done.state.value),
        ("cli.field.fault", done.fault),
        *((REPORT.get(key, key), _shown(value)) for key, value in done.report.items()),
    ]
    session.out.answer(done, rows)
    if done.state is ErrandState.FAILED:
        leave(Code.FAILED)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {kind}" for kind, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _roles(person: Somebody) -> str:
    return ", ".join(person.platform_roles)
