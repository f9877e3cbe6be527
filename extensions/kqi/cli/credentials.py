"""Commands about SSH keys, and credentials of git servers and registries."""

import sys
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.profile import hidden
from kqi.cli.session import Session
from kqi.schema import AddSshKey, CredentialKind, ImportSshKeys, SetCredential

commands = Commands()
_KEY_HEADS = (
    *("cli.field.id", "cli.field.kind", "cli.field.fingerprint", "cli.field.comment"),
    *("cli.field.last_used_at", "cli.field.last_used_from"),
)


@commands.add("account keys list", "cli.account.keys.list.help")
def list_keys(session: Session) -> None:
    found = list(session.client.ssh_keys.list())
    rows = [
        (item.id, item.kind, item.fingerprint, item.comment, item.last_used_at, item.last_used_from) for item in found
    ]
    session.out.table(found, _KEY_HEADS, rows)


@commands.add("account keys add", "cli.account.keys.add.help")
def add_key(
    session: Session,
    file: Annotated[Path, Arg("cli.account.keys.file", "FILE")],
    comment: Annotated[str | None, Opt("cli.account.keys.comment", metavar="TEXT")] = None,
) -> None:
    """`-` reads the key from the standard input."""
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    made = session.client.ssh_keys.add(AddSshKey(key=text, comment=comment))
    session.out.answer(
        made,
        [
            ("cli.field.id", made.id),
            ("cli.field.kind", made.kind),
            ("cli.field.fingerprint", made.fingerprint),
            ("cli.field.comment", made.comment),
        ],
    )


@commands.add("account keys import", "cli.account.keys.import.help")
def import_keys(
    session: Session,
    host: Annotated[str, Arg("cli.account.keys.server", "SERVER")],
    name: Annotated[str, Arg("cli.account.keys.name", "NAME")],
) -> None:
    found = session.client.ssh_keys.take_over(ImportSshKeys(server=host, account=name))
    for line, code in found.refused.items():
        session.out.tell("cli.account.keys.refused", line=line, code=code)
    session.out.done(
        {"added": len(found.added), "known": found.known, "refused": len(found.refused)}, "cli.account.keys.imported"
    )


@commands.add("account keys remove", "cli.account.keys.remove.help")
def remove_key(session: Session, key: Annotated[int, Arg("cli.account.keys.id", "ID")]) -> None:
    session.client.ssh_keys.remove(key)
    session.out.done({"id": key}, "cli.account.keys.removed")


@commands.add("account credentials list", "cli.account.credentials.list.help")
def list_credentials(session: Session) -> None:
    found = list(session.client.credentials.list())
    heads = ("cli.field.id", "cli.field.kind", "cli.field.server", "cli.field.user", "cli.field.last_used_at")
    rows = [(item.id, item.kind.value, item.server, item.username, item.last_used_at) for item in found]
    session.out.table(found, heads, rows)


@commands.add("account credentials set", "cli.account.credentials.set.help")
def set_credential(
    session: Session,
    kind: Annotated[str, Arg("cli.account.credentials.kind", "git|registry")],
    host: Annotated[str, Arg("cli.account.credentials.server", "SERVER")],
    user: Annotated[str, Opt("cli.account.credentials.user", ("--user", "-u"), "NAME")] = "",
) -> None:
    """The secret is asked for, or is a line of the standard input: never an argument."""
    if kind not in set(CredentialKind):
        raise UsageProblem("cli.account.credentials.bad_kind", kind=kind)
    secret = hidden("cli.account.credentials.secret")
    asked = SetCredential(server=host, username=user, secret=secret)
    made = session.client.credentials.set(CredentialKind(kind), asked)
    said: dict[str, object] = {"id": made.id, "kind": made.kind.value, "server": made.server, "username": made.username}
    session.out.done(said, "cli.account.credentials.kept")


@commands.add("account credentials remove", "cli.account.credentials.remove.help")
def remove_credential(session: Session, credential: Annotated[int, Arg("cli.account.credentials.id", "ID")]) -> None:
    session.client.credentials.remove(credential)
    session.out.done({"id": credential}, "cli.account.credentials.removed")
