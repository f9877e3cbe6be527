"""Commands that trainings and notebooks have in common, made once for each group."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kqi.cli.commands import Arg, Commands, Opt
from kqi.cli.exits import Code, leave
from kqi.cli.output import Cell, size
from kqi.cli.search import Search
from kqi.cli.session import Session
from kqi.client import RunFilter
from kqi.client.operation import Blocking
from kqi.client.runs import NotebookGroup, TrainingGroup
from kqi.schema import ChangeRun, Phase, Run, StopMode
from kqi.texts import say

Group = TrainingGroup[Blocking] | NotebookGroup[Blocking]
GROUPS: dict[str, Callable[[Session], Group]] = {
    "training": lambda session: session.client.trainings,
    "notebook": lambda session: session.client.notebooks,
}
RunId = Annotated[int, Arg("cli.run.id", "ID")]
HEADS = (
    "cli.field.id",
    "cli.field.title",
    "cli.field.phase",
    "cli.field.tags",
    "cli.field.created_by",
    "cli.field.created_at",
)


@dataclass(frozen=True, kw_only=True)
class Found(Search):
    phase: Annotated[Phase | None, Opt("cli.run.with_phase", metavar="PHASE")] = None
    tag: Annotated[str | None, Opt("cli.option.with_tag", metavar="TAG")] = None
    dataset: Annotated[int | None, Opt("cli.run.with_dataset", metavar="ID")] = None
    parent: Annotated[int | None, Opt("cli.run.with_parent", metavar="ID")] = None


@dataclass(frozen=True, kw_only=True)
class Edited:
    title: Annotated[str | None, Opt("cli.run.title", metavar="TEXT")] = None
    memo: Annotated[str | None, Opt("cli.option.memo", metavar="TEXT")] = None
    favorite: Annotated[bool | None, Opt("cli.run.favorite", ("--favorite/--no-favorite",))] = None
    tag: Annotated[list[str], Opt("cli.option.tags_instead", metavar="TAG")] = field(default_factory=list)
    no_tags: Annotated[bool, Opt("cli.option.no_tags", ("--no-tags",))] = False


class RunCommands:
    """The commands of one group, called by its word."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._pick = GROUPS[word]

    def register(self, commands: Commands) -> None:
        add = commands.add
        add(f"{self._word} list", "cli.run.list.help")(self.index)
        add(f"{self._word} get", "cli.run.get.help")(self.get)
        add(f"{self._word} logs", "cli.run.logs.help")(self.logs)
        add(f"{self._word} events", "cli.run.events.help")(self.events)
        add(f"{self._word} wait", "cli.run.wait.help")(self.wait)
        add(f"{self._word} stop", "cli.run.stop.help")(self.stop)
        add(f"{self._word} edit", "cli.run.edit.help")(self.edit)
        add(f"{self._word} outputs", "cli.run.outputs.help")(self.outputs)
        add(f"{self._word} download", "cli.run.download.help")(self.download)
        add(f"{self._word} attachments", "cli.run.attachments.help")(self.attachments)
        add(f"{self._word} attach", "cli.run.attach.help")(self.attach)
        add(f"{self._word} attachment", "cli.run.attachment.help")(self.attachment)
        add(f"{self._word} detach", "cli.run.detach.help")(self.detach)
        add(f"{self._word} delete", "cli.run.delete.help")(self.delete)

    def index(self, session: Session, found: Found) -> None:
        where = found.filter(RunFilter, phase=found.phase, tag=found.tag, dataset=found.dataset, parent=found.parent)
        runs = list(self._pick(session).list(where, found.limit))
        rows = [(r.id, r.title, phase_text(r.phase), ", ".join(r.tags), r.created_by, r.created_at) for r in runs]
        session.out.table(runs, HEADS, rows)

    def get(self, session: Session, run: RunId) -> None:
        answer(session, self._pick(session).get(run))

    def logs(
        self,
        session: Session,
        run: RunId,
        follow: Annotated[bool, Opt("cli.run.follow", ("--follow", "-f"))] = False,
    ) -> None:
        group = self._pick(session)
        if follow:
            follow_to_end(session, self._word, run)
        elif session.out.machine:
            session.out.json({"id": run, "log": b"".join(group.log(run)).decode(errors="replace")})
        else:
            for piece in group.log(run):
                session.out.raw(piece)

    def events(self, session: Session, run: RunId) -> None:
        found = self._pick(session).events(run).events
        heads = ("cli.field.at", "cli.field.phase", "cli.field.reason", "cli.field.message")
        session.out.table(found, heads, [(e.at, phase_text(e.phase), e.reason, e.message) for e in found])

    def wait(self, session: Session, run: RunId) -> None:
        with detaching(session, self._word, run):
            ended = self._pick(session).wait(run)
        answer(session, ended)
        leave_with(ended)

    def stop(
        self, session: Session, run: RunId, kill: Annotated[bool, Opt("cli.run.kill", ("--kill",))] = False
    ) -> None:
        answer(session, self._pick(session).stop(run, StopMode.KILL if kill else StopMode.CANCEL))

    def edit(self, session: Session, run: RunId, new: Edited) -> None:
        tags = new.tag or ([] if new.no_tags else None)
        body = ChangeRun(title=new.title, memo=new.memo, favorite=new.favorite, tags=tags)
        answer(session, self._pick(session).edit(run, body))

    def outputs(self, session: Session, run: RunId, path: Annotated[str, Arg("cli.run.path", "[PATH]")] = "") -> None:
        found = list(self._pick(session).outputs(run, path))
        rows = [(entry.name + "/" * entry.folder, size(entry.size), entry.changed_at) for entry in found]
        session.out.table(found, ("cli.field.name", "cli.field.size", "cli.field.changed_at"), rows)

    def download(
        self,
        session: Session,
        run: RunId,
        folder: Annotated[Path, Arg("cli.download.folder", "[FOLDER]")] = Path(),
        path: Annotated[str, Opt("cli.run.path", metavar="PATH")] = "",
        zip_file: Annotated[Path | None, Opt("cli.run.zip_file", ("--zip-file",), "FILE")] = None,
    ) -> None:
        group = self._pick(session)
        if zip_file is not None:
            group.archive(run, zip_file, path)
            session.out.done({"file": str(zip_file)}, "cli.download.one")
            return
        with session.out.transfer("cli.transfer.download") as report:
            places = group.download(run, folder, path, report)
        session.out.done({"files": len(places), "folder": str(folder)}, "cli.download.done")

    def attachments(self, session: Session, run: RunId) -> None:
        found = list(self._pick(session).attachments(run))
        rows = [(item.name, size(item.size), item.locked) for item in found]
        session.out.table(found, ("cli.field.name", "cli.field.size", "cli.field.locked"), rows)

    def attach(
        self,
        session: Session,
        run: RunId,
        file: Annotated[Path, Arg("cli.run.file", "FILE")],
        name: Annotated[str | None, Opt("cli.run.attachment_name", ("--name", "-n"), "NAME")] = None,
    ) -> None:
        self._pick(session).attach(run, file, name)
        session.out.done({"id": run, "name": name or file.name}, "cli.run.attached")

    def attachment(
        self,
        session: Session,
        run: RunId,
        name: Annotated[str, Arg("cli.run.attachment_name", "NAME")],
        file: Annotated[Path | None, Opt("cli.run.to_file", ("--file",), "FILE")] = None,
    ) -> None:
        place = self._pick(session).attachment(run, name, file or Path(name))
        session.out.done({"file": str(place)}, "cli.download.one")

    def detach(
        self, session: Session, run: RunId, name: Annotated[str, Arg("cli.run.attachment_name", "NAME")]
    ) -> None:
        self._pick(session).detach(run, name)
        session.out.done({"id": run, "name": name}, "cli.run.detached")

    def delete(self, session: Session, run: RunId) -> None:
        self._pick(session).delete(run)
        session.out.done({"id": run}, "cli.run.deleted")


class detaching:
    """Let a person leave a run that goes on without them."""

    def __init__(self, session: Session, word: str, run: int) -> None:
        self._session = session
        self._word = word
        self._run = run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, KeyboardInterrupt):
            self._session.out.tell("cli.run.goes_on", group=self._word, run=self._run)
            leave(Code.INTERRUPTED)


def follow_to_end(session: Session, word: str, run_id: int) -> None:
    """Show the log until the run has ended, and leave with what became of it."""
    group = GROUPS[word](session)
    with detaching(session, word, run_id):
        for piece in group.follow(run_id):
            session.out.raw(piece)
        ended = group.wait(run_id)
    if session.out.machine:
        session.out.json(ended.model_dump(mode="json"))
    else:
        said = " ".join(filter(None, (ended.explanation, ended.message)))
        session.out.tell("cli.run.ended", run=ended.id, phase=phase_text(ended.phase), message=said)
    leave_with(ended)


def leave_with(run: Run) -> None:
    if run.phase is not Phase.COMPLETED:
        leave(Code.FAILED)


def answer(session: Session, run: Run) -> None:
    session.out.answer(run, rows(run))


def rows(run: Run) -> list[tuple[str, Cell]]:
    queue = say("cli.run.queue", position=run.queue.position, detail=run.queue.detail) if run.queue else None
    asked = run.resources
    return [
        ("cli.field.id", run.id),
        ("cli.field.title", run.title),
        ("cli.field.phase", phase_text(run.phase)),
        ("cli.field.reason", run.explanation),
        ("cli.field.message", run.message),
        ("cli.field.queue", queue),
        ("cli.field.exit_code", run.exit_code),
        ("cli.field.url", run.url),
        ("cli.field.command", run.command),
        ("cli.field.source", _source(run)),
        ("cli.field.dataset", _dataset(run)),
        ("cli.field.parents", ", ".join(map(str, run.parents))),
        ("cli.field.image", run.image),
        ("cli.field.environment", "\n".join(f"{name}={value}" for name, value in run.environment.items())),
        ("cli.field.cpu", f"{asked.cpu:g}"),
        ("cli.field.memory", f"{asked.memory_gb:g} GB"),
        ("cli.field.gpu", f"{asked.gpu} {asked.gpu_kind or ''}".strip()),
        ("cli.field.tags", ", ".join(run.tags)),
        ("cli.field.memo", run.memo),
        ("cli.field.created_by", run.created_by),
        ("cli.field.created_at", run.created_at),
        ("cli.field.started_at", run.started_at),
        ("cli.field.finished_at", run.finished_at),
    ]


def phase_text(phase: str) -> str:
    key = f"phase.{phase}"
    text = say(key)
    return phase if text == key else text


def _source(run: Run) -> str:
    if run.source is None:
        return ""
    return " ".join(filter(None, (run.source.url, run.source.branch, run.source.commit))) or run.source.kind


def _dataset(run: Run) -> str:
    if run.dataset is None:
        return ""
    return f"{run.dataset.id}:{run.dataset.version}" if run.dataset.version else str(run.dataset.id)
