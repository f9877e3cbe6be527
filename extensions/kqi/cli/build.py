"""Make the typer application from the tables of commands, in the reader's language."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from kqi.cli.commands import Arg, Command, Opt, flags
from kqi.cli.help import PlainCommand, PlainGroup
from kqi.cli.session import Common, Session
from kqi.texts import say

GROUPS = {
    "tokens": "cli.tokens.help",
    "account": "cli.account.help",
    "account keys": "cli.account.keys.help",
    "account credentials": "cli.account.credentials.help",
    "account notifications": "cli.account.notifications.help",
    "data": "cli.data.help",
    "dataset": "cli.dataset.help",
    "training": "cli.training.help",
    "notebook": "cli.notebook.help",
    "tenant": "cli.tenant.help",
    "share": "cli.share.help",
    "admin": "cli.admin.help",
    "admin tenants": "cli.admin.tenants.help",
    "admin roles": "cli.admin.roles.help",
    "admin servers": "cli.servers.help",
    "admin mappings": "cli.admin.mappings.help",
    "admin terms": "cli.admin.terms.help",
    "admin people": "cli.admin.people.help",
    "admin sessions": "cli.admin.sessions.help",
    "admin errands": "cli.admin.errands.help",
    "admin applications": "cli.admin.applications.help",
    "admin audit": "cli.audit.help",
}
SETTINGS = {"help_option_names": ["-h", "--help"]}


def build(commands: Iterable[Command]) -> typer.Typer:
    """Return the application. Texts are taken now, so call it when the language is known."""
    groups: dict[str, typer.Typer] = {"": _app(say("cli.help"))}
    for command in commands:
        parent = _group(groups, command.words[:-1])
        parent.command(command.words[-1], cls=PlainCommand, help=say(command.help), context_settings=SETTINGS)(
            _callback(command)
        )
    return groups[""]


def _group(groups: dict[str, typer.Typer], words: tuple[str, ...]) -> typer.Typer:
    """Return the group of these words, made and hung on the one above it if missing."""
    name = " ".join(words)
    if name not in groups:
        groups[name] = _app(say(GROUPS[name]))
        _group(groups, words[:-1]).add_typer(groups[name], name=words[-1])
    return groups[name]


def _app(text: str) -> typer.Typer:
    app = typer.Typer(
        cls=PlainGroup, help=text, no_args_is_help=True, context_settings=SETTINGS, pretty_exceptions_enable=False
    )
    app.callback()(lambda: None)
    return app


def _callback(command: Command) -> Callable[..., None]:
    """Return a function with one plain parameter for each option, which typer reads and calls."""
    parts = _parts(command.body)
    parameters = [parameter for _, _, made in parts for parameter in made]

    def call(**values: Any) -> None:
        given: dict[str, Any] = {}
        for name, kind, made in parts:
            chosen = {parameter.name: values[parameter.name] for parameter in made}
            given[name] = kind(**chosen) if kind else chosen[name]
        with Session(given.pop("common")) as session:
            command.body(session, **given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parts(body: Callable[..., None]) -> list[tuple[str, Any, list[inspect.Parameter]]]:
    hints = get_type_hints(body, include_extras=True)
    parts: list[tuple[str, Any, list[inspect.Parameter]]] = []
    for name, parameter in list(inspect.signature(body).parameters.items())[1:]:
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            parts.append((name, hint, _fields(hint)))
        else:
            parts.append((name, None, [_parameter(name, hint, parameter.default)]))
    parts.append(("common", Common, _fields(Common)))
    return parts


def _fields(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    made = []
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        empty = default is dataclasses.MISSING
        made.append(_parameter(field.name, hints[field.name], inspect.Parameter.empty if empty else default))
    return made


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kind, declared = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    if isinstance(declared, Arg):
        info = typer.Argument(help=say(declared.help), metavar=declared.metavar, show_default=False)
    elif isinstance(declared, Opt):
        info = typer.Option(*flags(declared, name), help=say(declared.help), metavar=declared.metavar)
    else:
        raise TypeError(f"{name} is neither Opt nor Arg")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])
