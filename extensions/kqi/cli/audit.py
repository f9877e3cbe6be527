"""Commands of the audit log."""

import json
from dataclasses import dataclass
from typing import Annotated

from kqi.cli.commands import Commands, Opt
from kqi.cli.exits import Code, leave
from kqi.cli.output import Cell
from kqi.cli.search import Times
from kqi.cli.session import Session
from kqi.client.filters import AuditFilter
from kqi.texts import say

commands = Commands()
DAMAGE = {
    "changed": "cli.audit.changed",
    "missing": "cli.audit.missing",
    "cut": "cli.audit.cut",
    "seal_differs": "cli.audit.seal_differs",
    "seal_forged": "cli.audit.seal_forged",
}


@dataclass(frozen=True, kw_only=True)
class Which(Times):
    person: Annotated[str | None, Opt("cli.audit.person", metavar="NAME")] = None
    action: Annotated[str | None, Opt("cli.audit.action", metavar="ACTION")] = None
    object: Annotated[str | None, Opt("cli.audit.object", metavar="OBJECT")] = None
    of_tenant: Annotated[str | None, Opt("cli.audit.tenant", metavar="NAME")] = None
    refused: Annotated[bool | None, Opt("cli.audit.refused", ("--refused/--done",))] = None

    def filter(self) -> AuditFilter:
        results = {True: "refused", False: "done", None: None}
        return AuditFilter(
            person=self.person,
            action=self.action,
            object=self.object,
            tenant=self.of_tenant,
            since=self.start(),
            until=self.end(),
            result=results[self.refused],
        )


@commands.add("admin audit list", "cli.audit.list.help")
def list_audit(
    session: Session, which: Which, limit: Annotated[int | None, Opt("cli.admin.limit", metavar="N")] = 100
) -> None:
    found = list(session.client.admin.audit.list(which.filter(), limit))
    heads = ("cli.field.id", "cli.field.at", "cli.field.person", "cli.field.action", "cli.field.object")
    rows = [
        (item.id, item.at, item.person, item.action, item.object, item.tenant, item.address, item.refused)
        for item in found
    ]
    session.out.table(found, (*heads, "cli.field.tenant", "cli.field.address", "cli.field.refused"), rows)


@commands.add("admin audit export", "cli.audit.export.help")
def export_audit(session: Session, which: Which) -> None:
    for entry in session.client.admin.audit.export(which.filter()):
        line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False)
        session.out.text(line + "\n")


@commands.add("admin audit verify", "cli.audit.verify.help")
def verify_audit(session: Session) -> None:
    found = session.client.admin.audit.verify()
    rows: list[tuple[str, Cell]] = [
        ("cli.field.entries", found.entries),
        ("cli.audit.range", f"{found.first}-{found.last}"),
        ("cli.audit.sealed", found.sealed),
        ("cli.audit.whole", found.whole),
    ]
    faults = [(f"{fault.first}-{fault.last}", say(DAMAGE.get(fault.damage, fault.damage))) for fault in found.faults]
    session.out.answer(found, [*rows, *faults])
    if not found.whole:
        session.out.tell("cli.audit.damaged")
        leave(Code.FAILED)
