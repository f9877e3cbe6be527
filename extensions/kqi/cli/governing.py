"""Commands for those who govern the platform: erasing tenants, roles, mappings of the directory; and shares."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell
from kqi.cli.session import Session
from kqi.client.tenants import PLURAL
from kqi.schema import CreateMapping, Erasure, SetRoles, ShareWith, SyncPreview
from kqi.texts import say

commands = Commands()
MappingId = Annotated[int, Arg("cli.mapping.id", "ID")]
Kind = Annotated[str, Arg("cli.share.kind", "KIND")]
Number = Annotated[int, Arg("cli.share.number", "ID")]


@commands.add("admin tenants erase", "cli.admin.tenants.erase.help")
def erase(session: Session, name: Annotated[str, Arg("cli.admin.tenants.twice", "TENANT")]) -> None:
    """The name is asked for once more; it can be given by the standard input."""
    typed = (
        sys.stdin.readline().strip()
        if not sys.stdin.isatty()
        else typer.prompt(say("cli.admin.tenants.type"), err=True)
    )
    _report(session, session.client.tenants.erase(name, typed))


@commands.add("admin tenants erasures", "cli.admin.tenants.erasures.help")
def erasures(session: Session) -> None:
    items = list(session.client.tenants.erasures())
    heads = ("cli.field.id", "cli.field.tenant", "cli.field.created_at", "cli.field.finished_at")
    session.out.table(items, heads, [(item.id, item.tenant, item.asked_at, item.finished_at) for item in items])


@commands.add("admin tenants erasure", "cli.admin.tenants.erasure.help")
def erasure(session: Session, number: Annotated[int, Arg("cli.admin.tenants.erasure_id", "ID")]) -> None:
    _report(session, session.client.tenants.erasure(number))


@commands.add("admin roles list", "cli.admin.roles.list.help")
def roles(session: Session) -> None:
    found = session.client.roles.matrix()
    heads = ("cli.field.name", "cli.admin.roles.level", "cli.admin.roles.built_in", "cli.admin.roles.capabilities")
    rows = [(role.name, role.level, role.built_in, ", ".join(role.capabilities)) for role in found.roles]
    session.out.table(found.roles, heads, rows)


@commands.add("admin roles set", "cli.admin.roles.set.help")
def set_roles(session: Session, file: Annotated[Path, Arg("cli.admin.roles.file", "FILE")]) -> None:
    try:
        wanted = SetRoles.model_validate({"roles": json.loads(file.read_text(encoding="utf-8"))})
    except json.JSONDecodeError as problem:
        raise UsageProblem("cli.tenant.not_json", file=file) from problem
    session.client.roles.replace(wanted)
    roles(session)


@commands.add("admin roles people", "cli.admin.roles.people.help")
def people(session: Session) -> None:
    items = list(session.client.roles.people())
    heads = ("cli.field.name", "cli.field.display_name", "cli.tenant.by_hand", "cli.tenant.by_directory")
    rows = [(item.person, item.display_name, item.role, item.directory_role) for item in items]
    session.out.table(items, heads, rows)


@commands.add("admin roles give", "cli.admin.roles.give.help")
def give(
    session: Session,
    person: Annotated[str, Arg("cli.tenant.person", "PERSON")],
    role: Annotated[str | None, Opt("cli.admin.roles.role", metavar="ROLE")] = None,
) -> None:
    made = session.client.roles.give(person, role)
    session.out.answer(made, [("cli.field.name", made.person), ("cli.tenant.by_hand", made.role)])


@commands.add("admin mappings list", "cli.admin.mappings.list.help")
def mappings(session: Session) -> None:
    items = list(session.client.mappings.list())
    heads = ("cli.field.id", "cli.share.kind_field", "cli.tenant.value", "cli.field.tenant", "cli.tenant.roles")
    session.out.table(items, heads, [(item.id, item.kind, item.value, item.tenant, item.role) for item in items])


@commands.add("admin mappings add", "cli.admin.mappings.add.help")
def add_mapping(
    session: Session,
    kind: Annotated[str, Arg("cli.mapping.kind", "KIND")],
    value: Annotated[str, Arg("cli.mapping.value", "GROUP")],
    role: Annotated[str, Arg("cli.mapping.role", "ROLE")],
    to: Annotated[str | None, Opt("cli.mapping.to", metavar="TENANT")] = None,
) -> None:
    body = CreateMapping.model_validate({"kind": kind, "value": value, "role": role, "tenant": to})
    made = session.client.mappings.create(body)
    session.out.answer(made, [("cli.field.id", made.id), ("cli.tenant.value", made.value)])


@commands.add("admin mappings remove", "cli.admin.mappings.remove.help")
def remove_mapping(session: Session, mapping: MappingId) -> None:
    session.client.mappings.remove(mapping)
    session.out.done({"id": mapping}, "cli.mapping.removed")


@commands.add("admin mappings preview", "cli.admin.mappings.preview.help")
def preview(session: Session) -> None:
    _sync(session, session.client.mappings.preview())


@commands.add("admin mappings apply", "cli.admin.mappings.apply.help")
def apply(session: Session, digest: Annotated[str, Arg("cli.mapping.digest", "DIGEST")]) -> None:
    _sync(session, session.client.mappings.apply(digest))


@commands.add("share list", "cli.share.list.help")
def shares(session: Session, kind: Kind, number: Number) -> None:
    items = list(session.client.shares.list(_kind(kind), number))
    heads = ("cli.field.id", "cli.field.name", "cli.field.tenant", "cli.share.access_field")
    session.out.table(items, heads, [(item.id, item.person, item.tenant, item.access) for item in items])


@commands.add("share add", "cli.share.add.help")
def share(
    session: Session,
    kind: Kind,
    number: Number,
    person: Annotated[str | None, Opt("cli.share.person", metavar="PERSON")] = None,
    group: Annotated[str | None, Opt("cli.share.group", metavar="TENANT")] = None,
    write: Annotated[bool, Opt("cli.share.write", ("--write",))] = False,
) -> None:
    body = ShareWith(person=person, tenant=group, access="write" if write else "read")
    made = session.client.shares.create(_kind(kind), number, body)
    session.out.answer(made, [("cli.field.id", made.id), ("cli.share.access_field", made.access)])


@commands.add("share remove", "cli.share.remove.help")
def unshare(
    session: Session, kind: Kind, number: Number, share_id: Annotated[int, Arg("cli.share.id", "SHARE")]
) -> None:
    session.client.shares.remove(_kind(kind), number, share_id)
    session.out.done({"id": share_id}, "cli.share.removed")


def _kind(text: str) -> str:
    if text not in PLURAL:
        raise UsageProblem("cli.share.unknown_kind", kind=text, known=", ".join(PLURAL))
    return text


def _report(session: Session, found: Erasure) -> None:
    rows: list[tuple[str, Cell]] = [
        ("cli.field.id", found.id),
        ("cli.field.tenant", found.tenant),
        ("cli.field.finished_at", found.finished_at),
    ]
    session.out.answer(found, [*rows, *found.counts.items()])


def _sync(session: Session, found: SyncPreview) -> None:
    if session.out.machine:
        session.out.json(found.model_dump(mode="json"))
        return
    heads = ("cli.field.name", "cli.field.tenant", "cli.mapping.before", "cli.mapping.after")
    rows = [(one.person, one.tenant, one.before, one.after) for one in found.changes]
    session.out.table(found.changes, heads, rows)
    session.out.tell("cli.mapping.said", digest=found.digest, people=found.people, gone=", ".join(found.gone))
