"""What is to run, in words that no engine owns: mount this at that place, with these resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from kqi_spawner.names import WorkloadName


class Access(StrEnum):
    READ_ONLY = "ro"
    READ_WRITE = "rw"


@dataclass(frozen=True, slots=True)
class StorePath:
    """A place in the store, relative to its root (`datasets/3/1/training`). ValueError for `..` or an absolute path."""

    text: str

    def __post_init__(self) -> None:
        if not _lies_inside(self.text) or not PurePosixPath(self.text).parts:
            raise ValueError(f"not a path inside the store: {self.text!r}")

    def __truediv__(self, name: str) -> "StorePath":
        return StorePath(f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class VolumePath:
    """A place in a volume of an administrator, `text` empty for all of it; only the engine knows where it is."""

    volume: str
    text: str = ""

    def __post_init__(self) -> None:
        if not _lies_inside(self.text):
            raise ValueError(f"not a path inside a volume: {self.text!r}")

    def __str__(self) -> str:
        return f"{self.volume}:{self.text}"


def _lies_inside(text: str) -> bool:
    path = PurePosixPath(text)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Show `source` at `target`. The source exists when the workload is started."""

    source: VolumePath | StorePath
    target: str  # absolute, e.g. /kqi/input; where /kqi cannot be made it appears under KQI_ROOT
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A folder of this workload alone, empty at the start and thrown away at the end."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link inside the workload's view; `to` is relative to the folder that holds the link."""

    target: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card that admission has chosen."""

    kind: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    cpu_milli: int  # thousandths of a core
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()


class Secret:
    """A text that never shows itself in `repr`, logs or messages; `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What opens a registry of images (`host` or `host:port`), where the engine pulls them."""

    server: str
    username: str
    password: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One thing to run.

    `command` is an argument vector; a person's command of several lines is `("/bin/sh", "-c", text)`.
    `environment` is complete but for what the engine adds (PATH, HOME if absent, KQI_ROOT, CUDA_VISIBLE_DEVICES).
    `secrets` are environment variables too, but are never stored where another user can read them.
    `log` is the file of the store that receives stdout and stderr, from the first byte.
    `person` and `tenant` say whose it is, for engines that treat people differently; empty: nobody's in particular.
    """

    name: WorkloadName
    command: tuple[str, ...]
    image: str
    workdir: str
    resources: Resources
    log: StorePath
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    scratches: tuple[Scratch, ...] = ()
    links: tuple[Link, ...] = ()
    registries: tuple[Registry, ...] = ()
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # label → values, where the engine has nodes
    shm_mib: int | None = None  # largest /dev/shm, where the engine counts it as memory of the workload
    person: str = ""
    tenant: str = ""
    port: int | None = None  # a TCP port of this machine (local) or pod that the workload itself listens on
