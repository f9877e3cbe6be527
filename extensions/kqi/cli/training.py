"""Commands about trainings."""

import sys
from dataclasses import dataclass, field
from typing import Annotated

from kqi.cli.commands import Commands, Opt
from kqi.cli.exits import UsageProblem
from kqi.cli.inputs import Code, Inputs, Resources
from kqi.cli.run_commands import RunCommands, RunId, answer, follow_to_end
from kqi.cli.session import Session
from kqi.schema import AskedResources, CopyTraining, CreateTraining, Run

commands = Commands()
FollowFlag = Annotated[bool, Opt("cli.run.follow_new", ("--follow", "-f"))]


@dataclass(frozen=True, kw_only=True)
class New:
    title: Annotated[str | None, Opt("cli.run.title", metavar="TEXT")] = None
    name: Annotated[str | None, Opt("cli.run.name", ("--name", "-n"), "NAME")] = None
    command: Annotated[list[str], Opt("cli.training.command", ("--command", "-c"), "LINE")] = field(
        default_factory=list
    )
    image: Annotated[str, Opt("cli.input.image", metavar="NAME")] = ""
    zip: Annotated[bool, Opt("cli.training.zip", ("--zip/--no-zip",))] = True
    stop_at_first_failure: Annotated[bool, Opt("cli.training.stop_at_first_failure", ("--stop-at-first-failure",))] = (
        False
    )
    local_dataset: Annotated[bool, Opt("cli.training.local_dataset", ("--local-dataset",))] = False
    grace: Annotated[float, Opt("cli.training.grace", metavar="SECONDS")] = 30
    memo: Annotated[str, Opt("cli.option.memo", metavar="TEXT")] = ""
    tag: Annotated[list[str], Opt("cli.option.tag", metavar="TAG")] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Changed:
    title: Annotated[str | None, Opt("cli.run.title", metavar="TEXT")] = None
    name: Annotated[str | None, Opt("cli.run.name", ("--name", "-n"), "NAME")] = None
    command: Annotated[list[str], Opt("cli.training.command", ("--command", "-c"), "LINE")] = field(
        default_factory=list
    )
    image: Annotated[str | None, Opt("cli.input.image", metavar="NAME")] = None
    zip: Annotated[bool | None, Opt("cli.training.zip", ("--zip/--no-zip",))] = None
    stop_at_first_failure: Annotated[
        bool | None,
        Opt("cli.training.stop_at_first_failure", ("--stop-at-first-failure/--no-stop-at-first-failure",)),
    ] = None
    local_dataset: Annotated[
        bool | None, Opt("cli.training.local_dataset", ("--local-dataset/--no-local-dataset",))
    ] = None
    grace: Annotated[float | None, Opt("cli.training.grace", metavar="SECONDS")] = None
    memo: Annotated[str | None, Opt("cli.option.memo", metavar="TEXT")] = None
    tag: Annotated[list[str], Opt("cli.option.tags_instead", metavar="TAG")] = field(default_factory=list)


@commands.add("training create", "cli.training.create.help")
def create(
    session: Session, new: New, code: Code, inputs: Inputs, resources: Resources, follow: FollowFlag = False
) -> None:
    if not new.command:
        raise UsageProblem("cli.training.no_command")
    body = CreateTraining(
        title=new.title,
        name=new.name,
        command=lines(new.command),
        source=code.source(session),
        dataset=inputs.use(),
        parents=inputs.parent,
        image=new.image,
        environment=inputs.environment(),
        resources=resources.asked() or AskedResources(),
        zip=new.zip,
        stop_at_first_failure=new.stop_at_first_failure,
        local_dataset=new.local_dataset,
        grace_s=new.grace,
        memo=new.memo,
        tags=new.tag,
    )
    _made(session, session.client.trainings.create(body), follow)


@commands.add("training copy", "cli.training.copy.help")
def copy(  # noqa: PLR0913 - each group of options is one parameter
    session: Session,
    run: RunId,
    new: Changed,
    code: Code,
    inputs: Inputs,
    resources: Resources,
    follow: FollowFlag = False,
) -> None:
    trainings = session.client.trainings
    recorded = trainings.get(run)
    variables = inputs.environment()
    body = CopyTraining(
        title=new.title,
        name=new.name,
        command=lines(new.command) if new.command else None,
        source=code.source(session),
        dataset=inputs.use(),
        parents=inputs.parent or None,
        image=new.image,
        environment={**recorded.environment, **variables} if variables else None,
        resources=resources.asked(recorded.resources),
        zip=new.zip,
        stop_at_first_failure=new.stop_at_first_failure,
        local_dataset=new.local_dataset,
        grace_s=new.grace,
        memo=new.memo,
        tags=new.tag or None,
    )
    _made(session, trainings.copy(run, body), follow)


def lines(command: list[str]) -> str:
    """Return the lines of a command; `-` alone reads them from the standard input."""
    return sys.stdin.read() if command == ["-"] else "\n".join(command)


def _made(session: Session, run: Run, follow: bool) -> None:
    if follow:
        session.out.tell("cli.training.made", run=run.id)
        follow_to_end(session, "training", run.id)
    else:
        answer(session, run)


RunCommands("training").register(commands)
