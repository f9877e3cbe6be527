"""Commands about datasets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.data import number_and_version
from kqi.cli.exits import UsageProblem
from kqi.cli.output import Cell, size
from kqi.cli.search import Search
from kqi.cli.session import Session
from kqi.client import Filter
from kqi.schema import ChangeDataset, CopyDataset, CreateDataset, Dataset, DatasetUse, DataTypes, Entries

commands = Commands()
DatasetId = Annotated[int, Arg("cli.dataset.id", "ID")]
DatasetAt = Annotated[str, Arg("cli.dataset.id_version", "ID[:VERSION]")]


@dataclass(frozen=True, kw_only=True)
class Content:
    """Which data; exactly one of the two."""

    split: Annotated[list[str], Opt("cli.dataset.split", metavar="SPLIT=ID,ID...")] = field(default_factory=list)
    flat: Annotated[str | None, Opt("cli.dataset.flat", metavar="ID,ID...")] = None


@commands.add("dataset create", "cli.dataset.create.help")
def create(
    session: Session,
    content: Content,
    name: Annotated[str, Arg("cli.dataset.name", "NAME")],
    memo: Annotated[str, Opt("cli.option.memo", metavar="TEXT")] = "",
) -> None:
    made = session.client.datasets.create(CreateDataset(name=name, memo=memo, entries=entries(content)))
    session.out.answer(made, _rows(made))


@commands.add("dataset list", "cli.dataset.list.help")
def index(session: Session, found: Search) -> None:
    items = list(session.client.datasets.list(found.filter(Filter), found.limit))
    heads = (
        "cli.field.id",
        "cli.field.name",
        "cli.field.version",
        "cli.field.state",
        "cli.field.files",
        "cli.field.size",
    )
    rows = [
        (item.id, item.name, item.version.number, item.version.state, item.version.files, size(item.version.bytes))
        for item in items
    ]
    session.out.table(items, heads, rows)


@commands.add("dataset get", "cli.dataset.get.help")
def get(session: Session, dataset: DatasetId) -> None:
    found = session.client.datasets.get(dataset)
    session.out.answer(found, _rows(found))


@commands.add("dataset files", "cli.dataset.files.help")
def files(
    session: Session,
    dataset: DatasetAt,
    limit: Annotated[int | None, Opt("cli.option.limit_all", metavar="N")] = None,
) -> None:
    items = list(session.client.datasets.files(use(dataset), limit))
    rows = [(item.path, item.data, size(item.size)) for item in items]
    session.out.table(items, ("cli.field.path", "cli.field.data", "cli.field.size"), rows)


@commands.add("dataset download", "cli.dataset.download.help")
def download(
    session: Session,
    dataset: DatasetAt,
    folder: Annotated[Path, Arg("cli.download.folder", "[FOLDER]")] = Path(),
) -> None:
    with session.out.transfer("cli.transfer.download") as report:
        places = session.client.datasets.download(use(dataset), folder, report)
    session.out.done({"files": len(places), "folder": str(folder)}, "cli.download.done")


@commands.add("dataset edit", "cli.dataset.edit.help")
def edit(
    session: Session,
    dataset: DatasetId,
    content: Content,
    name: Annotated[str | None, Opt("cli.dataset.name", ("--name", "-n"), "NAME")] = None,
    memo: Annotated[str | None, Opt("cli.option.memo", metavar="TEXT")] = None,
) -> None:
    made = session.client.datasets.edit(dataset, ChangeDataset(name=name, memo=memo))
    if content.split or content.flat is not None:
        made = session.client.datasets.replace(dataset, entries(content))
    session.out.answer(made, _rows(made))


@commands.add("dataset copy", "cli.dataset.copy.help")
def copy(
    session: Session,
    dataset: DatasetId,
    name: Annotated[str, Arg("cli.dataset.name", "NAME")],
    memo: Annotated[str | None, Opt("cli.option.memo", metavar="TEXT")] = None,
) -> None:
    made = session.client.datasets.copy(dataset, CopyDataset(name=name, memo=memo))
    session.out.answer(made, _rows(made))


@commands.add("dataset version", "cli.dataset.version.help")
def version(session: Session, dataset: DatasetId, content: Content) -> None:
    made = session.client.datasets.add_version(dataset, entries(content))
    session.out.answer(made, _rows(made))


@commands.add("dataset versions", "cli.dataset.versions.help")
def versions(session: Session, dataset: DatasetId) -> None:
    items = list(session.client.datasets.versions(dataset))
    heads = ("cli.field.version", "cli.field.state", "cli.field.files", "cli.field.size", "cli.field.frozen")
    session.out.table(items, heads, [(v.number, v.state, v.files, size(v.bytes), v.frozen) for v in items])


@commands.add("dataset delete", "cli.dataset.delete.help")
def delete(session: Session, dataset: DatasetId) -> None:
    session.client.datasets.delete(dataset)
    session.out.done({"id": dataset}, "cli.dataset.deleted")


@commands.add("dataset types", "cli.dataset.types.help")
def types(
    session: Session, set_: Annotated[list[str] | None, Opt("cli.dataset.set_types", ("--set",), "SPLIT")] = None
) -> None:
    client = session.client
    names = client.datasets.set_types(DataTypes(names=set_)) if set_ else client.datasets.types()
    if session.out.machine:
        session.out.json(names)
    else:
        session.out.raw("".join(f"{name}\n" for name in names).encode())


def entries(content: Content) -> Entries:
    """Read the options that say which data; exactly one way must be used."""
    if bool(content.split) == (content.flat is not None):
        raise UsageProblem("cli.dataset.split_or_flat")
    if content.flat is not None:
        return Entries(flat=_numbers(content.flat))
    splits: dict[str, list[int]] = {}
    for text in content.split:
        name, equals, numbers = text.partition("=")
        if not equals or not name:
            raise UsageProblem("cli.dataset.bad_split", text=text)
        splits.setdefault(name, []).extend(_numbers(numbers))
    return Entries(splits=splits)


def use(text: str) -> DatasetUse:
    number, version = number_and_version(text)
    return DatasetUse(id=number, version=version)


def _numbers(text: str) -> list[int]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((part for part in found if not part.isdecimal()), None)
    if wrong is not None:
        raise UsageProblem("cli.dataset.not_a_number", text=wrong)
    return [int(part) for part in found]


def _rows(dataset: Dataset) -> list[tuple[str, Cell]]:
    version = dataset.version
    splits = version.entries.splits or {"": version.entries.flat or []}
    shown = "\n".join(f"{name}: {ids}" if name else str(ids) for name, ids in splits.items())
    return [
        ("cli.field.id", dataset.id),
        ("cli.field.name", dataset.name),
        ("cli.field.tenant", dataset.tenant),
        ("cli.field.version", version.number),
        ("cli.field.state", version.state),
        ("cli.field.message", version.message),
        ("cli.field.data", shown.replace("[", "").replace("]", "")),
        ("cli.field.files", version.files),
        ("cli.field.size", size(version.bytes)),
        ("cli.field.memo", dataset.memo),
        ("cli.field.frozen", dataset.frozen),
        ("cli.field.created_by", dataset.created_by),
        ("cli.field.created_at", dataset.created_at),
    ]
