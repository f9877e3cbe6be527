"""Commands about the account: sign in and out, who one is, tokens, capacity."""

import platform
import sys
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

import kqi
from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell
from kqi.cli.session import Session
from kqi.client import Client
from kqi.client.errors import KqiError, NoServer
from kqi.client.settings import forget_token, is_stored, store, with_token
from kqi.schema import CreateToken, NewToken, Password, Token
from kqi.texts import say

commands = Commands()
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


@dataclass(frozen=True, kw_only=True)
class Login:
    url: Annotated[str | None, Arg("cli.login.url", "[URL]")] = None
    password: Annotated[bool, Opt("cli.login.password", ("--password",))] = False
    user: Annotated[str | None, Opt("cli.login.user", ("--user", "-u"), "NAME")] = None
    name: Annotated[str | None, Opt("cli.login.name", metavar="NAME")] = None
    browser: Annotated[bool, Opt("cli.login.browser", ("--browser/--no-browser",))] = True


@commands.add("login", "cli.login.help")
def login(session: Session, how: Login) -> None:
    name = how.name or f"kqi@{platform.node() or 'localhost'}"[:255]
    common = session.common
    with Client(how.url or common.server, token=None, tenant=common.tenant, ca_file=common.ca_file) as client:
        made = (
            _by_password(session, client, how, name)
            if how.password or how.user
            else _by_device(session, client, how, name)
        )
        settings = with_token(client.settings, made.token)
    store(settings)
    with Client(settings.server, token=made.token, ca_file=settings.ca_file) as client:
        person = client.me()
    session.out.done({"name": person.name, "server": settings.server}, "cli.login.done")


@commands.add("logout", "cli.logout.help")
def logout(session: Session) -> None:
    """Who cannot reach the server must be able to sign out as well; the token then lives until it expires."""
    revoked = False
    with suppress(KqiError):
        if is_stored(session.client.settings):
            session.client.tokens.revoke_current()
            revoked = True
    forget_token()
    session.out.done({"signed_in": False, "revoked": revoked}, "cli.logout.done" if revoked else "cli.logout.kept")


@commands.add("whoami", "cli.whoami.help")
def whoami(session: Session) -> None:
    person = session.client.me()
    rows: list[tuple[str, Cell]] = [
        ("cli.field.name", person.name),
        ("cli.field.display_name", person.display_name),
        ("cli.field.server", session.client.settings.server),
        ("cli.field.tenant", session.client.settings.tenant or person.default_tenant),
        ("cli.field.tenants", ", ".join(tenant.name for tenant in person.tenants)),
        ("cli.field.administrator", person.administrator),
    ]
    session.out.answer(person, rows)


@commands.add("version", "cli.version.help")
def version(session: Session) -> None:
    here = kqi.__version__
    try:
        there = session.client.version()
    except NoServer:
        session.out.done({"client": here}, "cli.version.alone")
        return
    session.out.done({"client": here, "server": there.version, "api": there.api}, "cli.version.done")


@commands.add("completion", "cli.completion.help")
def completion(session: Session, shell: Annotated[str, Arg("cli.completion.shell", "SHELL")]) -> None:
    if shell not in SHELLS:
        raise UsageProblem("cli.completion.unknown", shell=shell, shells=", ".join(SHELLS))
    script = get_completion_script(prog_name="kqi", complete_var="_KQI_COMPLETE", shell=shell)
    if session.out.machine:
        session.out.json({"shell": shell, "script": script})
    else:
        session.out.raw(script.encode() + b"\n")


@commands.add("capacity", "cli.capacity.help")
def capacity(session: Session) -> None:
    found = session.client.capacity()
    rows: list[tuple[str, Cell]] = [
        ("cli.field.cpu", say("cli.capacity.free", free=f"{found.cpu_free:g}", total=f"{found.cpu_total:g}")),
        (
            "cli.field.memory",
            say("cli.capacity.free", free=f"{found.memory_gb_free:g}", total=f"{found.memory_gb_total:g}"),
        ),
    ]
    rows += [(f"GPU {gpu.kind}", say("cli.capacity.free", free=gpu.free, total=gpu.total)) for gpu in found.gpus]
    session.out.answer(found, [*rows, ("cli.field.queued", found.queued)])


@commands.add("tokens list", "cli.tokens.list.help")
def list_tokens(session: Session) -> None:
    found = list(session.client.tokens.list())
    heads = (
        *("cli.field.id", "cli.field.name", "cli.field.tenant", "cli.field.can", "cli.field.created_at"),
        *("cli.field.expires_at", "cli.field.last_used_at", "cli.field.last_used_from"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(item.id, item.name, item.tenant, _can(item), item.created_at),
            *(item.expires_at, item.last_used_at, item.last_used_from),
        )
        for item in found
    ]
    session.out.table(found, heads, rows)


@commands.add("tokens create", "cli.tokens.create.help")
def create_token(
    session: Session,
    name: Annotated[str, Arg("cli.tokens.name", "NAME")],
    days: Annotated[int, Opt("cli.tokens.days", metavar="N")] = 30,
    can: Annotated[str | None, Opt("cli.tokens.can", metavar="RIGHT,…")] = None,
) -> None:
    """Narrowed to the tenant that `--tenant` names, and to what `--can` lists."""
    rights = [right.strip() for right in can.split(",") if right.strip()] if can is not None else None
    asked = CreateToken(name=name, days=days, tenant=session.common.tenant, capabilities=rights)
    made = session.client.tokens.create(asked)
    session.out.tell("cli.tokens.once")
    rows: list[tuple[str, Cell]] = [
        ("cli.field.id", made.info.id),
        ("cli.field.token", made.token),
        ("cli.field.tenant", made.info.tenant),
        ("cli.field.can", _can(made.info)),
        ("cli.field.expires_at", made.info.expires_at),
    ]
    session.out.answer(made, rows)


@commands.add("tokens revoke", "cli.tokens.revoke.help")
def revoke_token(session: Session, token: Annotated[int, Arg("cli.tokens.id", "ID")]) -> None:
    session.client.tokens.revoke(token)
    session.out.done({"id": token}, "cli.tokens.revoked")


def _can(token: Token) -> str:
    return say("cli.tokens.all") if token.capabilities is None else ", ".join(token.capabilities)


def _by_password(session: Session, client: Client, how: Login, name: str) -> NewToken:
    user = how.user or typer.prompt(say("cli.login.ask_user"), err=True)
    if sys.stdin.isatty():
        password = typer.prompt(say("cli.login.ask_password"), hide_input=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    return client.sign_in.password(Password(username=user, password=password, name=name))


def _by_device(session: Session, client: Client, how: Login, name: str) -> NewToken:
    device = client.sign_in.start_device(name)
    session.out.tell("cli.login.open", url=device.verification_uri_complete, code=device.user_code)
    if how.browser and sys.stderr.isatty():
        webbrowser.open(device.verification_uri_complete)
    return client.sign_in.redeem(device)
