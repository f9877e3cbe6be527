"""Help pages, all of whose words are ours and so in the reader's language."""

from difflib import get_close_matches
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from kqi.cli.exits import MEANINGS, UsageProblem
from kqi.texts import say

_TYPERS_OWN = {
    "help": "cli.option.help",
    "install_completion": "cli.option.install_completion",
    "show_completion": "cli.option.show_completion",
}


class PlainCommand(TyperCommand):
    """A command with our help page and our words for what is too much."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise UsageProblem("cli.usage.unexpected", name=ctx.args[0])
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show(self, ctx)


class PlainGroup(TyperGroup):
    """A group of commands with our help page and our words for what is not there."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            key = "cli.usage.did_you_mean" if near else "cli.usage.no_such_command"
            raise UsageProblem(key, name=args[0], near="".join(near))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show(self, ctx)


def show(command: Any, ctx: Any) -> None:
    """Write the help page of a command to the standard output."""
    console = Console(highlight=False)
    console.print(Text(f"{say('cli.usage')} {ctx.command_path} {_pieces(command, ctx)}".rstrip()))
    console.print()
    console.print(Text(command.help or ""))
    parameters = command.get_params(ctx)
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    options = [item for item in parameters if item.param_type_name == "option"]
    _section(console, say("cli.arguments"), [(_metavar(item), item.help or "") for item in arguments])
    _section(console, say("cli.options"), [(_flags(item), _option_help(item)) for item in options])
    if isinstance(command, TyperGroup):
        found = [command.get_command(ctx, name) for name in command.list_commands(ctx)]
        _section(console, say("cli.commands"), [(item.name or "", item.help or "") for item in found if item])
    if ctx.parent is None:
        _section(console, say("cli.exit_codes"), [(str(int(code)), say(key)) for code, key in MEANINGS.items()])


def _section(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    if not rows:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True, max_width=44)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    console.print()
    console.print(Text(title))
    console.print(table)


def _pieces(command: Any, ctx: Any) -> str:
    if isinstance(command, TyperGroup):
        return say("cli.usage_group")
    arguments = [_metavar(item) for item in command.get_params(ctx) if item.param_type_name == "argument"]
    return " ".join([say("cli.usage_options"), *arguments])


def _flags(item: Any) -> str:
    names = ", ".join([*item.opts, *item.secondary_opts])
    return names if item.is_flag else f"{names} {_metavar(item)}"


def _metavar(item: Any) -> str:
    return str(item.metavar or item.name.upper())


def _option_help(item: Any) -> str:
    text = say(_TYPERS_OWN[item.name]) if item.name in _TYPERS_OWN else item.help or ""
    default = item.default
    if isinstance(default, bool) or default in (None, "", [], ()) or callable(default):
        return text
    return say("cli.default", text=text, default=getattr(default, "value", default))
