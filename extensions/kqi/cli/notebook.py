"""Commands about notebooks."""

import webbrowser
from dataclasses import dataclass
from typing import Annotated

from kqi.cli.commands import Commands, Opt
from kqi.cli.inputs import Code, Inputs, Resources
from kqi.cli.run_commands import RunCommands, RunId, answer, detaching, leave_with
from kqi.cli.session import Session
from kqi.schema import AskedResources, CreateNotebook, Run

commands = Commands()
WaitFlag = Annotated[bool, Opt("cli.notebook.wait", ("--wait/--no-wait",))]


@dataclass(frozen=True, kw_only=True)
class New:
    title: Annotated[str | None, Opt("cli.run.title", metavar="TEXT")] = None
    name: Annotated[str | None, Opt("cli.run.name", ("--name", "-n"), "NAME")] = None
    image: Annotated[str, Opt("cli.input.image", metavar="NAME")] = ""
    local_dataset: Annotated[bool, Opt("cli.training.local_dataset", ("--local-dataset",))] = False
    memo: Annotated[str, Opt("cli.option.memo", metavar="TEXT")] = ""


@commands.add("notebook create", "cli.notebook.create.help")
def create(
    session: Session, new: New, code: Code, inputs: Inputs, resources: Resources, wait: WaitFlag = False
) -> None:
    body = CreateNotebook(
        title=new.title,
        name=new.name,
        source=code.source(session),
        dataset=inputs.use(),
        parents=inputs.parent,
        image=new.image,
        environment=inputs.environment(),
        resources=resources.asked() or AskedResources(),
        local_dataset=new.local_dataset,
        memo=new.memo,
    )
    made = session.client.notebooks.create(body)
    _shown(session, _opened(session, made) if wait else made)


@commands.add("notebook start", "cli.notebook.start.help")
def start(session: Session, run: RunId, wait: WaitFlag = True) -> None:
    made = session.client.notebooks.start(run)
    _shown(session, _opened(session, made) if wait else made)


@commands.add("notebook open", "cli.notebook.open.help")
def open_(session: Session, run: RunId) -> None:
    found = _opened(session, session.client.notebooks.get(run))
    if found.url:
        webbrowser.open(_address(session, found))
    _shown(session, found)


def _opened(session: Session, run: Run) -> Run:
    with detaching(session, "notebook", run.id):
        return session.client.notebooks.wait_open(run.id)


def _shown(session: Session, run: Run) -> None:
    """Answer a notebook with its whole address; leave with 1 if it has ended instead of starting."""
    answer(session, run.model_copy(update={"url": _address(session, run)}) if run.url else run)
    if run.phase.ended:
        leave_with(run)


def _address(session: Session, run: Run) -> str:
    url = run.url or ""
    return url if "://" in url else session.client.settings.server + "/" + url.lstrip("/")


RunCommands("notebook").register(commands)
