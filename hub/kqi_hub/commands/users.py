"""`kqi-hub user …`."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.administration.people import check_password_is_ours
from kqi_hub.administration.suspend import resume, suspend
from kqi_hub.audit.log import Entry, append
from kqi_hub.commands.console import Config, State, plainly, settings_of, t
from kqi_hub.db.engine import Database
from kqi_hub.directory.local import password_fault, set_password
from kqi_hub.directory.one_time import one_time_password
from kqi_hub.errors import ConfigError, Conflict, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import ADMINISTRATOR
from kqi_hub.identity.rows import LocalAccountRow, PersonRow
from kqi_hub.settings import Settings
from kqi_hub.supervisor import state as platform_state
from kqi_hub.supervisor.folders import prepare_folders
from kqi_spawner.workload import Secret

app = typer.Typer(no_args_is_help=True, help=t("help.user"))
Work = Callable[[AsyncSession, Settings], Awaitable[None]]
Name = Annotated[str, typer.Argument(help=t("help.user_name"))]
Stdin = Annotated[bool, typer.Option("--password-stdin", help=t("help.password_stdin"))]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@app.command("add", help=t("help.user_add"))
def add(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help=t("help.admin"))] = False,
    display_name: Annotated[str, typer.Option(help=t("help.display_name"))] = "",
    password_stdin: Stdin = False,
    state: State = None,
    config: Config = None,
) -> None:
    async def work(session: AsyncSession, settings: Settings) -> None:
        if not _NAME.fullmatch(name):
            raise Invalid("user_name_not_valid", name=name[:100])
        if await people.person_named(session, name) is not None:
            raise Conflict("user_exists", name=name)
        password, given = _password(settings, password_stdin)
        tenant = await people.ensure_tenant(session, settings.default_tenant, settings.default_tenant)
        person = await people.ensure_person(session, name, tenant, display_name=display_name, administrator=admin)
        await set_password(session, person.id, password, must_change=not given)
        await _on_record(session, "person.create", name)
        typer.echo(t("user.added", name=name) if given else t("user.password", name=name, password=password.reveal()))

    _with_database(work, state, config)


@app.command("list", help=t("help.user_list"))
def list_users(state: State = None, config: Config = None) -> None:
    async def work(session: AsyncSession, _settings: Settings) -> None:
        table = Table(*(t(f"list.{head}") for head in ("name", "display_name", "administrator", "disabled")))
        for person in (await session.execute(select(PersonRow).order_by(PersonRow.name))).scalars():
            marks = ["✓" if flag else "" for flag in (person.platform_role == ADMINISTRATOR, person.disabled)]
            table.add_row(person.name, person.display_name, *marks)
        Console().print(table)

    _with_database(work, state, config)


@app.command("passwd", help=t("help.user_passwd"))
def passwd(name: Name, password_stdin: Stdin = False, state: State = None, config: Config = None) -> None:
    async def work(session: AsyncSession, settings: Settings) -> None:
        person = await _person(session, name)
        check_password_is_ours(person)  # with a local account as well they could not sign in at all
        password, given = _password(settings, password_stdin)
        await set_password(session, person.id, password, must_change=not given)
        await _on_record(session, "person.password", name)
        typer.echo(t("user.changed", name=name) if given else t("user.password", name=name, password=password.reveal()))

    _with_database(work, state, config)


@app.command("disable", help=t("help.user_disable"))
def disable(name: Name, state: State = None, config: Config = None) -> None:
    _switch(name, True, state, config)


@app.command("enable", help=t("help.user_enable"))
def enable(name: Name, state: State = None, config: Config = None) -> None:
    _switch(name, False, state, config)


def _switch(name: str, disabled: bool, state: State, config: Config) -> None:
    async def work(session: AsyncSession, _settings: Settings) -> None:
        person = await _person(session, name)
        if disabled:
            await suspend(session, person, by="kqi-hub", reason="")
        else:
            await resume(session, person)
        unlock = update(LocalAccountRow).where(LocalAccountRow.person_id == person.id)
        await session.execute(unlock.values(failures=0, locked_until=None))
        await _on_record(session, "person.suspend" if disabled else "person.resume", name)
        typer.echo(t("user.disabled" if disabled else "user.enabled", name=name))

    _with_database(work, state, config)


async def _on_record(session: AsyncSession, action: str, name: str) -> None:
    """Of who may run this command nothing is known but that they have the machine."""
    await append(session, Entry(action=action, thing=f"person/{name}", name="kqi-hub", address="this machine"))


async def _person(session: AsyncSession, name: str) -> PersonRow:
    found = await people.person_named(session, name)
    if found is None:
        raise NotFound("user", name)
    return found


def _password(settings: Settings, from_stdin: bool) -> tuple[Secret, bool]:
    if not from_stdin:
        return one_time_password(), False
    given = Secret(sys.stdin.readline().rstrip("\r\n"))
    fault = password_fault(given, settings.sign_in)
    if fault:
        raise Invalid(fault.value, length=settings.sign_in.password_min_length)
    return given, True


def _with_database(work: Work, state: State, config: Config) -> None:
    async def run(settings: Settings) -> None:
        if not platform_state.is_there(settings):
            raise ConfigError("no_platform_here", path=settings.state)
        prepare_folders(settings)
        await asyncio.to_thread(platform_state.migrate_database, settings)
        database = Database.of(settings)
        try:
            async with database.write() as session:
                await work(session, settings)
        finally:
            await database.close()

    with plainly():
        asyncio.run(run(settings_of(config, state)))
