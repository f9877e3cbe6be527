"""Commands about tenants: the groups of people who work together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell
from kqi.cli.session import Session
from kqi.client.settings import store
from kqi.schema import ChangeTenant, CreateTenant, Placement, SetPlacement, TenantDetail

commands = Commands()
Name = Annotated[str, Arg("cli.tenant.name", "TENANT")]
Who = Annotated[str, Arg("cli.tenant.person", "PERSON")]
Role = Annotated[str, Opt("cli.tenant.role", metavar="ROLE")]


@commands.add("tenant list", "cli.tenant.list.help")
def index(session: Session, mine: Annotated[bool, Opt("cli.tenant.mine", ("--mine",))] = False) -> None:
    items = list(session.client.tenants.list(mine))
    heads = ("cli.field.name", "cli.field.display_name", "cli.tenant.roles", "cli.tenant.managers", "cli.field.state")
    rows = [
        (item.name, item.display_name, ", ".join(item.roles), ", ".join(item.managers), _state(item)) for item in items
    ]
    session.out.table(items, heads, rows)


@commands.add("tenant get", "cli.tenant.get.help")
def get(session: Session, name: Name) -> None:
    _answer(session, session.client.tenants.get(name))


@commands.add("tenant create", "cli.tenant.create.help")
def create(
    session: Session,
    name: Name,
    display_name: Annotated[str, Opt("cli.tenant.display_name", metavar="TEXT")] = "",
    description: Annotated[str, Opt("cli.tenant.description", metavar="TEXT")] = "",
    open_: Annotated[bool, Opt("cli.tenant.open", ("--open/--closed",))] = True,
) -> None:
    body = CreateTenant(name=name, display_name=display_name, description=description, open=open_)
    _answer(session, session.client.tenants.create(body))


@commands.add("tenant edit", "cli.tenant.edit.help")
def edit(
    session: Session,
    name: Name,
    display_name: Annotated[str | None, Opt("cli.tenant.display_name", metavar="TEXT")] = None,
    description: Annotated[str | None, Opt("cli.tenant.description", metavar="TEXT")] = None,
    open_: Annotated[bool | None, Opt("cli.tenant.open", ("--open/--closed",))] = None,
) -> None:
    body = ChangeTenant(display_name=display_name, description=description, open=open_)
    _answer(session, session.client.tenants.edit(name, body))


@commands.add("tenant archive", "cli.tenant.archive.help")
def archive(session: Session, name: Name) -> None:
    _answer(session, session.client.tenants.archive(name))


@commands.add("tenant unarchive", "cli.tenant.unarchive.help")
def unarchive(session: Session, name: Name) -> None:
    _answer(session, session.client.tenants.unarchive(name))


@commands.add("tenant use", "cli.tenant.use.help")
def use(session: Session, name: Name) -> None:
    """Later commands on this computer work in this tenant, unless they say otherwise."""
    found = session.client.tenants.get(name)
    store(replace(session.client.settings, tenant=found.name, token=None))
    session.out.done({"tenant": found.name}, "cli.tenant.used")


@commands.add("tenant ask", "cli.tenant.ask.help")
def ask(session: Session, name: Name, message: Annotated[str, Opt("cli.tenant.message", metavar="TEXT")] = "") -> None:
    session.client.tenants.ask(name, message)
    session.out.done({"tenant": name}, "cli.tenant.asked")


@commands.add("tenant leave", "cli.tenant.leave.help")
def leave(session: Session, name: Name) -> None:
    session.client.tenants.leave(name)
    session.out.done({"tenant": name}, "cli.tenant.left")


@commands.add("tenant members", "cli.tenant.members.help")
def members(session: Session, name: Name) -> None:
    items = list(session.client.tenants.members(name))
    heads = ("cli.field.name", "cli.field.display_name", "cli.tenant.by_hand", "cli.tenant.by_directory")
    rows = [(item.person, item.display_name, item.role, item.directory_role) for item in items]
    session.out.table(items, heads, rows)


@commands.add("tenant add", "cli.tenant.add.help")
def add(session: Session, name: Name, person: Who, role: Role = "researcher") -> None:
    made = session.client.tenants.set_member(name, person, role)
    session.out.answer(made, [("cli.field.name", made.person), ("cli.tenant.by_hand", made.role)])


@commands.add("tenant remove", "cli.tenant.remove.help")
def remove(session: Session, name: Name, person: Who) -> None:
    session.client.tenants.remove_member(name, person)
    session.out.done({"tenant": name, "person": person}, "cli.tenant.removed")


@commands.add("tenant requests", "cli.tenant.requests.help")
def requests(session: Session, name: Name) -> None:
    items = list(session.client.tenants.requests(name))
    heads = ("cli.field.name", "cli.field.display_name", "cli.field.message", "cli.field.created_at")
    session.out.table(items, heads, [(item.person, item.display_name, item.message, item.created_at) for item in items])


@commands.add("tenant accept", "cli.tenant.accept.help")
def accept(session: Session, name: Name, person: Who, role: Role = "researcher") -> None:
    made = session.client.tenants.accept(name, person, role)
    session.out.answer(made, [("cli.field.name", made.person), ("cli.tenant.by_hand", made.role)])


@commands.add("tenant decline", "cli.tenant.decline.help")
def decline(session: Session, name: Name, person: Who) -> None:
    session.client.tenants.decline(name, person)
    session.out.done({"tenant": name, "person": person}, "cli.tenant.declined")


@commands.add("tenant placement", "cli.tenant.placement.help")
def placement(
    session: Session,
    name: Name,
    file: Annotated[Path | None, Opt("cli.tenant.expand_file", ("--set",), "FILE")] = None,
    node: Annotated[list[str] | None, Opt("cli.tenant.node", metavar="NODE")] = None,
    all_nodes: Annotated[bool, Opt("cli.tenant.all_nodes", ("--all-nodes",))] = False,
) -> None:
    """What is not named stays as it is."""
    before = session.client.tenants.placement(name)
    if file is None and node is None and not all_nodes:
        _show_placement(session, before)
        return
    try:
        expand = json.loads(file.read_text(encoding="utf-8")) if file else before.expand
    except ValueError as problem:
        raise UsageProblem("cli.tenant.not_json", file=file) from problem
    if not isinstance(expand, dict):
        raise UsageProblem("cli.tenant.not_json", file=file)
    nodes = [] if all_nodes else before.nodes if node is None else node
    made = session.client.tenants.set_placement(name, SetPlacement(expand=expand, nodes=nodes))
    _show_placement(session, made)


def _show_placement(session: Session, found: Placement) -> None:
    if session.out.machine:
        session.out.json(found.model_dump(mode="json"))
        return
    heads = ("cli.tenant.key", "cli.tenant.value", "cli.tenant.enforced", "cli.field.message")
    session.out.table(found.effects, heads, [(one.key, one.value, one.enforced, one.detail) for one in found.effects])


def _answer(session: Session, found: TenantDetail) -> None:
    rows: list[tuple[str, Cell]] = [
        ("cli.field.name", found.name),
        ("cli.field.display_name", found.display_name),
        ("cli.tenant.description_field", found.description),
        ("cli.tenant.roles", ", ".join(found.roles)),
        ("cli.tenant.managers", ", ".join(found.managers)),
        ("cli.field.state", _state(found)),
        ("cli.field.created_by", found.created_by),
        ("cli.field.created_at", found.created_at),
    ]
    session.out.answer(found, rows)


def _state(found: TenantDetail) -> str:
    return "archived" if found.archived else "open" if found.open else "closed"
