"""A run, its phases, and the next step of one. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from kqi.schema import Phase, StopMode
from kqi_spawner.names import WorkloadName, workload_name
from kqi_spawner.status import Phase as Seen
from kqi_spawner.status import Reason, WorkloadStatus
from kqi_spawner.workload import Gpu, StorePath

_OF_A_RUN = re.compile(r"([a-z]+)-(\d{1,15})(?:-(\d{1,15}))?")

ACTIVE = (Phase.QUEUED, Phase.PREPARING, Phase.RUNNING, Phase.STOPPING, Phase.COLLECTING)
ENDED = (Phase.COMPLETED, Phase.FAILED, Phase.CANCELED, Phase.KILLED)

# The allowed edges; a compare-and-set that is not one of them is a mistake of the program.
EDGES: Mapping[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.PREPARING, *ENDED}),
    Phase.PREPARING: frozenset({Phase.RUNNING, Phase.STOPPING, Phase.COLLECTING, *ENDED}),
    Phase.RUNNING: frozenset({Phase.STOPPING, Phase.COLLECTING, *ENDED}),
    Phase.STOPPING: frozenset({Phase.COLLECTING, *ENDED}),
    Phase.COLLECTING: frozenset(ENDED),
    **{phase: frozenset({Phase.QUEUED}) for phase in ENDED},  # a notebook is started again
}


class Kind(StrEnum):
    TRAINING = "training"
    NOTEBOOK = "notebook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the code comes from, as it was resolved at submit."""

    kind: Literal["git", "archive"]
    url: str = ""
    branch: str = ""
    commit: str = ""
    rule: str
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    key: int
    kind: Kind
    number: int
    attempt: int
    tenant_id: int
    tenant: str
    person_id: int
    person: str
    title: str
    name: str
    phase: Phase
    reason: str | None
    message: str
    command: str
    source: Source | None
    dataset: int | None
    version: int | None
    parents: tuple[int, ...]  # numbers of trainings
    image: str
    environment: Mapping[str, str]
    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_kind: str | None
    cards: tuple[Gpu, ...]
    zip: bool
    stop_at_first_failure: bool
    local_dataset: bool
    grace_s: float
    memo: str
    tags: tuple[str, ...] = ()
    favorite: bool
    server: str
    stop: StopMode | None
    exit_code: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def workload(self) -> WorkloadName:
        return workload_of(self.kind, self.number, self.attempt)

    @property
    def folder(self) -> StorePath:
        return folder(self.kind, self.number)

    @property
    def log_name(self) -> str:
        return f"{self.kind.value}_stdout_stderr_{self.number}.log"

    @property
    def log(self) -> StorePath:
        return self.folder / "attach" / self.log_name


def workload_of(kind: Kind, number: int, attempt: int) -> WorkloadName:
    """Return the name under which the engine knows an attempt; no two attempts share one."""
    name = workload_name(kind.value, number)
    return name if attempt == 1 else workload_name(name, attempt)


def numbers_of(name: WorkloadName) -> tuple[str, int, int] | None:
    """Return kind, number and attempt of such a name; None for one that is no run's."""
    found = _OF_A_RUN.fullmatch(name)
    return (found[1], int(found[2]), int(found[3] or 1)) if found else None


def server_of(number: int) -> str:
    """Return the name at the hub of a notebook's server, unless its person gave it one."""
    return f"nb-{number}"


def folder(kind: Kind, number: int) -> StorePath:
    return StorePath(f"runs/{kind.value}/{number}")


class Step(StrEnum):
    """What the reconciler does next to a run."""

    WAIT = "wait"
    PREPARE = "prepare"  # admitted: bring the inputs, then start it
    SEE_RUNNING = "see_running"
    ASK_TO_STOP = "ask_to_stop"
    COLLECT = "collect"  # it has ended: keep what it made
    END = "end"  # it ends without having begun


def next_step(run: Run, seen: WorkloadStatus, asked: StopMode | None = None) -> Step:
    """Return the step that brings `run`, whose workload looks like `seen`, forward.

    `asked` is how this process has already asked the engine to stop it: one that was killed may not have come to that.
    """
    if run.phase is Phase.QUEUED:
        return Step.END if run.stop else Step.WAIT
    if run.phase is Phase.COLLECTING or seen.phase in {Seen.EXITED, Seen.LOST}:
        return Step.COLLECT
    if run.phase is Phase.PREPARING:
        if run.stop:
            return Step.END if seen.phase is Seen.ABSENT else Step.ASK_TO_STOP
        return Step.SEE_RUNNING if seen.phase is Seen.RUNNING else Step.PREPARE
    if seen.phase is Seen.ABSENT:
        return Step.COLLECT
    if run.stop and run.stop is not asked:
        return Step.ASK_TO_STOP
    return Step.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a run ended."""

    phase: Phase
    reason: str | None
    exit_code: int | None


def verdict(run: Run, seen: WorkloadStatus) -> Verdict:
    """Return the end of a run whose workload is over: a stop that somebody asked for wins over what it led to."""
    if seen.phase is Seen.EXITED:
        stopped = seen.reason is Reason.STOPPED or (run.stop is not None and seen.exit_code != 0)
        if run.stop and stopped:
            return Verdict(phase=stop_phase(run.stop), reason="stopped", exit_code=seen.exit_code)
        if run.kind is Kind.NOTEBOOK and (seen.exit_code == 0 or seen.reason is Reason.STOPPED):
            return Verdict(phase=Phase.COMPLETED, reason=None, exit_code=seen.exit_code)
        if seen.exit_code == 0 and seen.reason is None:
            return Verdict(phase=Phase.COMPLETED, reason=None, exit_code=0)
        reason = seen.reason.value if seen.reason else "exit_code"
        return Verdict(phase=Phase.FAILED, reason=reason, exit_code=seen.exit_code)
    return Verdict(phase=stop_phase(run.stop) if run.stop else Phase.FAILED, reason="lost", exit_code=None)


def stop_phase(mode: StopMode) -> Phase:
    return Phase.KILLED if mode is StopMode.KILL else Phase.CANCELED


def short_name(title: str, kind: Kind) -> str:
    """Derive a name by the guides' rule (lower-case letters, digits and '-', at most 30) from a title."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:30].strip("-") or kind.value
