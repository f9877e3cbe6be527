"""Commands about git servers and registries: what is defined, and what a tenant's people choose from."""

from dataclasses import dataclass
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.session import Session
from kqi.schema import DefineServer, Server, ServerKind, ServerUse, SetTenantServers, TenantServers

commands = Commands()
Use = Annotated[ServerUse, Arg("cli.servers.use", "git|registry")]
Name = Annotated[str, Arg("cli.servers.name", "NAME")]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Left out, a list stays as it is; `--all` gives up both."""

    git: Annotated[list[str] | None, Opt("cli.servers.git", ("--git",), "NAME")] = None
    git_default: Annotated[str | None, Opt("cli.servers.git_default", metavar="NAME")] = None
    registry: Annotated[list[str] | None, Opt("cli.servers.registry", ("--registry",), "NAME")] = None
    registry_default: Annotated[str | None, Opt("cli.servers.registry_default", metavar="NAME")] = None
    all: Annotated[bool, Opt("cli.servers.all", ("--all",))] = False

    @property
    def nothing(self) -> bool:
        return self == Choice()


@commands.add("admin servers list", "cli.servers.list.help")
def index(session: Session) -> None:
    items = list(session.client.tenants.all_servers())
    session.out.table(items, _HEADS, [_row(item) for item in items])


@commands.add("admin servers define", "cli.servers.define.help")
def define(
    session: Session,
    use: Use,
    name: Name,
    kind: Annotated[ServerKind, Opt("cli.servers.kinds", ("--kind",), "KIND")],
    url: Annotated[str, Opt("cli.servers.url", ("--url",), "URL")],
) -> None:
    made = session.client.tenants.define_server(use, name, DefineServer(kind=kind, url=url))
    session.out.answer(made, list(zip(_HEADS, _row(made), strict=True)))


@commands.add("admin servers remove", "cli.servers.remove.help")
def remove(session: Session, use: Use, name: Name) -> None:
    session.client.tenants.remove_server(use, name)
    session.out.done({"use": use, "name": name}, "cli.servers.removed")


@commands.add("tenant servers", "cli.servers.tenant.help")
def of_tenant(session: Session, name: Annotated[str, Arg("cli.tenant.name", "TENANT")], choice: Choice) -> None:
    found = session.client.tenants.servers(name)
    if not choice.nothing:
        found = session.client.tenants.set_servers(name, _chosen(choice, found))
    if session.out.machine:
        session.out.json(found.model_dump(mode="json"))
        return
    rows = [(*_row(one), one.name == found.git_default) for one in found.git]
    rows += [(*_row(one), one.name == found.registry_default) for one in found.registry]
    session.out.table([], (*_HEADS, "cli.servers.standard"), rows)


def _chosen(choice: Choice, before: TenantServers) -> SetTenantServers:
    """Return what the options make of `before`: a list that was not the tenant's own is not made one by reading it."""
    if choice.all:
        return SetTenantServers()
    git, git_default = _merged(choice.git, choice.git_default, before, "git")
    registry, registry_default = _merged(choice.registry, choice.registry_default, before, "registry")
    return SetTenantServers(git=git, git_default=git_default, registry=registry, registry_default=registry_default)


def _merged(
    names: list[str] | None, default: str | None, before: TenantServers, use: ServerUse
) -> tuple[list[str], str | None]:
    listed, standard = (before.git, before.git_default) if use == "git" else (before.registry, before.registry_default)
    there = [server.name for server in listed]
    if names is not None:
        return names, default or (standard if standard in names else None)
    if default is not None:
        return there, default
    return (there, standard) if use in before.chosen else ([], None)


_HEADS = ("cli.servers.use", "cli.field.name", "cli.servers.kind", "cli.servers.url")


def _row(server: Server) -> tuple[str, str, str, str]:
    return server.use, server.name, server.kind, server.url
