"""Commands about data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell, size
from kqi.cli.search import Search
from kqi.cli.session import Session
from kqi.client import DataFilter, Taking
from kqi.schema import ChangeData, CreateData, Data

commands = Commands()
DataId = Annotated[int, Arg("cli.data.id", "ID")]
_NAMED = 10  # of what was left out; a program is told all of it
HEADS = (
    "cli.field.id",
    "cli.field.name",
    "cli.field.files",
    "cli.field.size",
    "cli.field.tags",
    "cli.field.created_at",
)


@dataclass(frozen=True, kw_only=True)
class NewData:
    paths: Annotated[list[Path], Arg("cli.data.paths", "PATH...")]
    name: Annotated[str | None, Opt("cli.data.name", ("--name", "-n"), "NAME")] = None
    memo: Annotated[str, Opt("cli.option.memo", metavar="TEXT")] = ""
    tag: Annotated[list[str], Opt("cli.option.tag", metavar="TAG")] = field(default_factory=list)
    follow_links: Annotated[bool, Opt("cli.data.follow_links", ("--follow-links",))] = False


@dataclass(frozen=True, kw_only=True)
class Added:
    paths: Annotated[list[Path], Arg("cli.data.paths", "PATH...")]
    follow_links: Annotated[bool, Opt("cli.data.follow_links", ("--follow-links",))] = False


@dataclass(frozen=True, kw_only=True)
class Found(Search):
    tag: Annotated[str | None, Opt("cli.option.with_tag", metavar="TAG")] = None


@dataclass(frozen=True, kw_only=True)
class Edited:
    name: Annotated[str | None, Opt("cli.data.name", ("--name", "-n"), "NAME")] = None
    memo: Annotated[str | None, Opt("cli.option.memo", metavar="TEXT")] = None
    tag: Annotated[list[str], Opt("cli.option.tags_instead", metavar="TAG")] = field(default_factory=list)
    no_tags: Annotated[bool, Opt("cli.option.no_tags", ("--no-tags",))] = False


@commands.add("data upload", "cli.data.upload.help")
def upload(session: Session, new: NewData) -> None:
    name = new.name or new.paths[0].resolve().name
    body = CreateData(name=name, memo=new.memo, tags=new.tag)
    left_out: list[Path] = []
    taking = Taking(follow_links=new.follow_links, left_out=left_out.append)
    with session.out.transfer("cli.transfer.upload") as report:
        made = session.client.data.upload(new.paths, body, report, taking)
    _answer(session, made, left_out)


@commands.add("data list", "cli.data.list.help")
def index(session: Session, found: Found) -> None:
    items = list(session.client.data.list(found.filter(DataFilter, tag=found.tag), found.limit))
    rows = [(d.id, d.name, d.files, size(d.bytes), ", ".join(d.tags), d.created_at) for d in items]
    session.out.table(items, HEADS, rows)


@commands.add("data get", "cli.data.get.help")
def get(session: Session, data: DataId) -> None:
    found = session.client.data.get(data)
    session.out.answer(found, _rows(found))


@commands.add("data files", "cli.data.files.help")
def files(
    session: Session,
    data: DataId,
    prefix: Annotated[str | None, Opt("cli.data.prefix", metavar="PREFIX")] = None,
    limit: Annotated[int | None, Opt("cli.option.limit_all", metavar="N")] = None,
) -> None:
    items = list(session.client.data.files(data, prefix, limit))
    rows = [(item.path, size(item.size), item.sha256[:16]) for item in items]
    session.out.table(items, ("cli.field.path", "cli.field.size", "cli.field.sha256"), rows)


@commands.add("data download", "cli.data.download.help")
def download(
    session: Session,
    data: DataId,
    folder: Annotated[Path, Arg("cli.download.folder", "[FOLDER]")] = Path(),
    prefix: Annotated[str | None, Opt("cli.data.prefix", metavar="PREFIX")] = None,
) -> None:
    with session.out.transfer("cli.transfer.download") as report:
        places = session.client.data.download(data, folder, prefix, report)
    session.out.done({"files": len(places), "folder": str(folder)}, "cli.download.done")


@commands.add("data edit", "cli.data.edit.help")
def edit(session: Session, data: DataId, new: Edited) -> None:
    tags = new.tag or ([] if new.no_tags else None)
    made = session.client.data.edit(data, ChangeData(name=new.name, memo=new.memo, tags=tags))
    session.out.answer(made, _rows(made))


@commands.add("data delete", "cli.data.delete.help")
def delete(session: Session, data: DataId) -> None:
    session.client.data.delete(data)
    session.out.done({"id": data}, "cli.data.deleted")


@commands.add("data add", "cli.data.add.help")
def add(session: Session, data: DataId, new: Added) -> None:
    left_out: list[Path] = []
    taking = Taking(follow_links=new.follow_links, left_out=left_out.append)
    with session.out.transfer("cli.transfer.upload") as report:
        made = session.client.data.add(data, new.paths, report, taking)
    _answer(session, made, left_out)


@commands.add("data remove", "cli.data.remove.help")
def remove(session: Session, data: DataId, paths: Annotated[list[str], Arg("cli.data.there", "PATH...")]) -> None:
    made = session.client.data.remove(data, paths)
    session.out.answer(made, _rows(made))


@commands.add("data tags", "cli.data.tags.help")
def tags(session: Session) -> None:
    found = session.client.data.tags()
    if session.out.machine:
        session.out.json(found)
    else:
        session.out.raw("".join(f"{tag}\n" for tag in found).encode())


def number_and_version(text: str) -> tuple[int, int | None]:
    """Read `ID` or `ID:VERSION`."""
    number, _, version = text.partition(":")
    if not number.isdecimal() or (version and not version.isdecimal()):
        raise UsageProblem("cli.dataset.not_a_number", text=text)
    return int(number), int(version) if version else None


def _answer(session: Session, data: Data, left_out: list[Path]) -> None:
    """Answer with what was sent, and say what was not."""
    names = [str(place).encode("utf-8", "surrogateescape").decode("utf-8", "replace") for place in left_out]
    if names:
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        session.out.tell("cli.data.left_out", count=len(names), names=shown)
    session.out.answer(data, _rows(data), left_out=names)


def _rows(data: Data) -> list[tuple[str, Cell]]:
    return [
        ("cli.field.id", data.id),
        ("cli.field.name", data.name),
        ("cli.field.tenant", data.tenant),
        ("cli.field.files", data.files),
        ("cli.field.size", size(data.bytes)),
        ("cli.field.tags", ", ".join(data.tags)),
        ("cli.field.memo", data.memo),
        ("cli.field.frozen", data.frozen),
        ("cli.field.created_by", data.created_by),
        ("cli.field.created_at", data.created_at),
    ]
