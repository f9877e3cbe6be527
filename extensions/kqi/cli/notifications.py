"""Commands about where one is told of one's work."""

from typing import Annotated, get_args

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.profile import hidden
from kqi.cli.session import Session
from kqi.schema import AddNotificationTarget, ChangeNotificationTarget, Event, NoticeKind

commands = Commands()
Id = Annotated[int, Arg("cli.account.notifications.id", "ID")]
Events = Annotated[str | None, Opt("cli.account.notifications.events", metavar="EVENT,…")]
Mention = Annotated[str | None, Opt("cli.account.notifications.mention", metavar="TEXT")]


@commands.add("account notifications list", "cli.account.notifications.list.help")
def list_targets(session: Session) -> None:
    found = list(session.client.notifications.list())
    heads = (
        *("cli.field.id", "cli.field.kind", "cli.field.name", "cli.field.address"),
        *("cli.field.events", "cli.field.told_at", "cli.field.fault"),
    )
    rows = [
        (item.id, item.kind.value, item.name, item.address, ", ".join(item.events), item.told_at, item.fault)
        for item in found
    ]
    session.out.table(found, heads, rows)


@commands.add("account notifications add", "cli.account.notifications.add.help")
def add_target(
    session: Session,
    kind: Annotated[str, Arg("cli.account.notifications.kind", "slack|webhook|email")],
    name: Annotated[str, Arg("cli.account.notifications.name", "NAME")],
    mention: Mention = None,
    events: Events = None,
) -> None:
    """The address is asked for, or is a line of the standard input: that of a chat is a secret."""
    if kind not in set(NoticeKind):
        raise UsageProblem("cli.account.notifications.bad_kind", kind=kind)
    given = {"mention": mention, "events": _events(events)}
    address = hidden("cli.account.notifications.address")
    chosen = {key: value for key, value in given.items() if value is not None}
    asked = AddNotificationTarget.model_validate({"kind": kind, "name": name, "address": address, **chosen})
    made = session.client.notifications.add(asked)
    if made.key:
        session.out.tell("cli.account.notifications.once")
    session.out.answer(
        made,
        [
            ("cli.field.id", made.target.id),
            ("cli.field.address", made.target.address),
            ("cli.field.events", ", ".join(made.target.events)),
            ("cli.field.key", made.key),
        ],
    )


@commands.add("account notifications edit", "cli.account.notifications.edit.help")
def edit_target(session: Session, target: Id, mention: Mention = None, events: Events = None) -> None:
    given = {"mention": mention, "events": _events(events)}
    chosen = {key: value for key, value in given.items() if value is not None}
    if not chosen:
        raise UsageProblem("cli.account.nothing")
    session.client.notifications.change(target, ChangeNotificationTarget.model_validate(chosen))
    session.out.done({"id": target}, "cli.account.notifications.changed")


@commands.add("account notifications test", "cli.account.notifications.test.help")
def test_target(session: Session, target: Id) -> None:
    session.client.notifications.test(target)
    session.out.done({"id": target}, "cli.account.notifications.tested")


@commands.add("account notifications remove", "cli.account.notifications.remove.help")
def remove_target(session: Session, target: Id) -> None:
    session.client.notifications.remove(target)
    session.out.done({"id": target}, "cli.account.notifications.removed")


def _events(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in get_args(Event)]
    if unknown:
        raise UsageProblem("cli.account.notifications.bad_event", name=unknown[0], known=", ".join(get_args(Event)))
    return names
