"""Runs: trainings and notebooks, what they ask for and what became of them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from kqi.schema.base import EnvironmentName, Id, Moment, OneLine, Request, Sha256, ShortName, Tag, Text, Title, Wire
from kqi.schema.datasets import DatasetUse


class Phase(StrEnum):
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    COLLECTING = "collecting"
    COMPLETED = "completed"  # exit code 0
    FAILED = "failed"  # another exit code, or it could not be started
    CANCELED = "canceled"  # a person's normal stop
    KILLED = "killed"  # a forced stop

    @property
    def ended(self) -> bool:
        return self in {Phase.COMPLETED, Phase.FAILED, Phase.CANCELED, Phase.KILLED}


class Git(Request):
    """Code from a git repository. A commit wins over a branch; neither means the repository's default branch."""

    kind: Literal["git"] = "git"
    url: Annotated[OneLine, Field(min_length=1, max_length=2048)]
    branch: OneLine | None = None
    commit: OneLine | None = None


class Archive(Request):
    """Code as a `.tar.gz` that the client packed and uploaded."""

    kind: Literal["archive"] = "archive"
    sha256: Sha256
    origin: OneLine = ""  # where it was packed, for people


Source = Annotated[Git | Archive, Field(discriminator="kind")]


class ResolvedSource(Wire):
    """What was taken: the commit as a full SHA, by the rule `commit`, `branch`, `default_branch` or `archive`."""

    kind: str
    url: str = ""
    branch: str = ""
    commit: str = ""
    rule: str


class AskedResources(Request):
    cpu: float = Field(default=1, gt=0, le=4096, allow_inf_nan=False)  # cores
    memory_gb: float = Field(default=1, gt=0, le=65_536, allow_inf_nan=False)
    gpu: int = Field(default=0, ge=0, le=4096)
    gpu_kind: OneLine | None = None  # None: any kind


class CreateTraining(Request):
    title: Title | None = None
    name: ShortName | None = None  # None: derived from the title
    command: Annotated[Text, Field(min_length=1)]
    source: Source | None = None
    dataset: DatasetUse | None = None
    parents: list[Id] = Field(default=[], max_length=100)
    image: OneLine = ""
    environment: dict[EnvironmentName, Text] = Field(default={}, max_length=500)
    resources: AskedResources = AskedResources()
    zip: bool = True
    stop_at_first_failure: bool = False  # False: the result is the exit code of the last command
    local_dataset: bool = False  # True: a writable copy of the dataset
    grace_s: float = Field(default=30, ge=0, le=3600, allow_inf_nan=False)
    memo: Text = ""
    tags: list[Tag] = Field(default=[], max_length=100)


class CopyTraining(Request):
    """Run it again as it was recorded; what is given here is taken instead."""

    title: Title | None = None
    name: ShortName | None = None
    command: Annotated[Text, Field(min_length=1)] | None = None
    source: Source | None = None
    dataset: DatasetUse | None = None
    parents: list[Id] | None = Field(default=None, max_length=100)
    image: OneLine | None = None
    environment: dict[EnvironmentName, Text] | None = Field(default=None, max_length=500)
    resources: AskedResources | None = None
    zip: bool | None = None
    stop_at_first_failure: bool | None = None
    local_dataset: bool | None = None
    grace_s: float | None = Field(default=None, ge=0, le=3600, allow_inf_nan=False)
    memo: Text | None = None
    tags: list[Tag] | None = Field(default=None, max_length=100)


class CreateNotebook(Request):
    title: Title | None = None
    name: ShortName | None = None
    source: Source | None = None
    dataset: DatasetUse | None = None
    parents: list[Id] = Field(default=[], max_length=100)
    image: OneLine = ""
    environment: dict[EnvironmentName, Text] = Field(default={}, max_length=500)
    resources: AskedResources = AskedResources()
    local_dataset: bool = False  # True: a writable copy of the dataset
    memo: Text = ""


class ChangeRun(Request):
    title: Title | None = None
    memo: Text | None = None
    favorite: bool | None = None
    tags: list[Tag] | None = Field(default=None, max_length=100)


class StopMode(StrEnum):
    CANCEL = "cancel"
    KILL = "kill"


class StopRun(Request):
    mode: StopMode = StopMode.CANCEL


class Queue(Wire):
    """Why a run waits: its place (from 1) and the reason as a stable code with a sentence."""

    position: int
    reason: str
    detail: str


class Run(Wire):
    id: int
    kind: str
    tenant: str
    title: str
    name: str
    phase: Phase
    reason: str | None
    explanation: str = ""  # what the reason means, in the reader's language
    message: str
    queue: Queue | None
    command: str
    source: ResolvedSource | None
    dataset: DatasetUse | None
    parents: list[int]
    image: str
    environment: dict[str, str]
    resources: AskedResources
    gpu_indexes: list[int]
    zip: bool
    stop_at_first_failure: bool
    local_dataset: bool
    grace_s: float
    memo: str
    tags: list[str]
    favorite: bool
    exit_code: int | None
    url: str | None  # where a running notebook is opened
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunEvents(Wire):
    events: list[Moment]


class OutputEntry(Wire):
    """One entry of an output folder; `size` is None for a folder."""

    name: str
    folder: bool
    size: int | None
    changed_at: datetime


class Attachment(Wire):
    name: str
    size: int
    locked: bool  # made by the platform: the log and the zip


class GpuFree(Wire):
    kind: str
    total: int
    free: int


class Capacity(Wire):
    cpu_total: float
    cpu_free: float
    memory_gb_total: float
    memory_gb_free: float
    gpus: list[GpuFree]
    queued: int
