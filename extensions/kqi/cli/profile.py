"""Commands about the profile, the password, and the terms of service."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell
from kqi.cli.session import Session
from kqi.schema import ChangePassword, ChangePerson, Person, PublishedTerms, TermsTexts
from kqi.texts import say

commands = Commands()


@dataclass(frozen=True, kw_only=True)
class Changes:
    display_name: Annotated[str | None, Opt("cli.account.display_name", metavar="NAME")] = None
    email: Annotated[str | None, Opt("cli.account.email", metavar="ADDRESS")] = None
    language: Annotated[str | None, Opt("cli.account.language", metavar="ja|zh|en")] = None
    time_zone: Annotated[str | None, Opt("cli.account.time_zone", metavar="ZONE")] = None
    default_tenant: Annotated[str | None, Opt("cli.account.default_tenant", metavar="NAME")] = None


@commands.add("account show", "cli.account.show.help")
def show(session: Session) -> None:
    _answer(session, session.client.me())


@commands.add("account edit", "cli.account.edit.help")
def edit(session: Session, changes: Changes) -> None:
    given = {name: value for name, value in vars(changes).items() if value is not None}
    if not given:
        raise UsageProblem("cli.account.nothing")
    _answer(session, session.client.edit_me(ChangePerson(**given)))


@commands.add("account password", "cli.account.password.help")
def password(session: Session) -> None:
    """From a terminal it is asked for; else three lines of the standard input are old, new, and new again."""
    name = session.client.me().name
    old = hidden("cli.account.old_password")
    new = hidden("cli.account.new_password")
    if new != hidden("cli.account.new_password_again"):
        raise UsageProblem("cli.account.not_alike")
    session.client.sign_in.change_password(ChangePassword(username=name, old=old, new=new))
    session.out.done({"name": name}, "cli.account.password_changed")


@commands.add("account terms", "cli.account.terms.help")
def terms(session: Session) -> None:
    found = session.client.terms.current()
    rows: list[tuple[str, Cell]] = [
        ("cli.field.version", found.version),
        ("cli.field.since", found.published_at),
        ("cli.field.accepted", found.accepted),
        ("cli.field.text", found.text),
    ]
    session.out.answer(found, rows)


@commands.add("account accept-terms", "cli.account.accept.help")
def accept_terms(
    session: Session, version: Annotated[int | None, Opt("cli.account.accept.version", metavar="N")] = None
) -> None:
    """Without a version named, they are shown and asked about."""
    found = session.client.terms.current()
    if version is None and not found.accepted:
        session.out.tell("cli.account.accept.text", version=found.version, text=found.text)
        if not sys.stdin.isatty():
            raise UsageProblem("cli.account.accept.name_it", version=found.version)
        typer.confirm(say("cli.account.accept.ask"), abort=True, err=True)
    done = session.client.terms.accept(found.version if version is None else version)
    session.out.done({"version": done.version, "accepted": done.accepted}, "cli.account.accept.done")


@commands.add("admin terms publish", "cli.admin.terms.publish.help")
def publish_terms(
    session: Session,
    ja: Annotated[Path, Opt("cli.admin.terms.ja", metavar="FILE")],
    zh: Annotated[Path, Opt("cli.admin.terms.zh", metavar="FILE")],
    en: Annotated[Path, Opt("cli.admin.terms.en", metavar="FILE")],
) -> None:
    ja_text, zh_text, en_text = (path.read_text(encoding="utf-8") for path in (ja, zh, en))
    _published(session, session.client.terms.publish(TermsTexts(ja=ja_text, zh=zh_text, en=en_text)))


@commands.add("admin terms show", "cli.admin.terms.show.help")
def show_terms(
    session: Session, version: Annotated[int | None, Arg("cli.admin.terms.version", "[VERSION]")] = None
) -> None:
    wanted = version if version is not None else session.client.terms.current().version
    _published(session, session.client.terms.published(wanted))


def hidden(key: str) -> str:
    """Ask for something that is not shown; without a terminal it is a line of the standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(say(key), hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _answer(session: Session, person: Person) -> None:
    rows: list[tuple[str, Cell]] = [
        ("cli.field.name", person.name),
        ("cli.field.display_name", person.display_name),
        ("cli.field.email", person.email),
        ("cli.field.source", person.source),
        ("cli.field.language", person.language),
        ("cli.field.time_zone", person.time_zone),
        ("cli.field.tenant", person.default_tenant),
        ("cli.field.tenants", ", ".join(tenant.name for tenant in person.tenants)),
        ("cli.field.administrator", person.administrator),
        ("cli.field.can", ", ".join(person.capabilities)),
    ]
    if person.token:
        rows.append(("cli.field.token", f"{person.token.name} ({person.token.id})"))
    if person.terms:
        rows.append(("cli.field.terms", f"{person.terms.accepted} / {person.terms.current}"))
    session.out.answer(person, rows)


def _published(session: Session, found: PublishedTerms) -> None:
    rows: list[tuple[str, Cell]] = [
        ("cli.field.version", found.version),
        ("cli.field.since", found.published_at),
        ("cli.field.by", found.published_by),
        ("cli.field.accepted_by", found.accepted),
        *((language, text) for language, text in found.texts.items()),
    ]
    session.out.answer(found, rows)
