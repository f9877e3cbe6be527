"""What an engine sees of a workload."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Phase(StrEnum):
    ABSENT = "absent"  # never heard of, or forgotten
    PENDING = "pending"  # accepted, the user's command has not begun
    RUNNING = "running"
    EXITED = "exited"  # the end was seen: `exit_code` is the runtime's own
    LOST = "lost"  # it had begun and its end was not seen (machine restarted, supervisor killed)


class Reason(StrEnum):
    """Why a workload ended as it did, where the exit code does not say it."""

    OUT_OF_MEMORY = "out_of_memory"
    STOPPED = "stopped"  # somebody asked for it
    CANNOT_START = "cannot_start"  # the sandbox, the image or the working directory could not be had; see `message`
    IMAGE_UNKNOWN = "image_unknown"
    LOST = "lost"


class Waiting(StrEnum):
    """What a PENDING workload waits for, where the engine knows it; details are in `message`."""

    SHARE = "share"  # what all of the platform may use of the cluster is used up
    ROOM = "room"  # no machine has room for it at the moment
    PREPARATION = "preparation"  # folders and network
    IMAGE = "image"  # it is being brought to the machine
    FAULT = "fault"  # it cannot be made so far, and is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadStatus:
    phase: Phase
    waiting: Waiting | None = None  # set while PENDING
    started_at: datetime | None = None  # UTC; set once the user's command has begun
    finished_at: datetime | None = None  # UTC; set when EXITED
    exit_code: int | None = None  # 0..255; 128 + n where signal n ended it
    reason: Reason | None = None
    message: str = ""  # one English line for the log; user texts come from `reason`


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """Cards that are alike. `indexes` are what admission may hand out."""

    name: str
    indexes: tuple[int, ...]
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the engine can give out in all, whether free or not; `nodes`: the parts that nothing may span."""

    cpu_milli: int
    memory_mib: int
    gpus: tuple[GpuKind, ...] = ()
    nodes: "tuple[Capacity, ...]" = ()
