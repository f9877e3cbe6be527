"""What the recipes need to know besides the run itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kqi_spawner.workload import Mount, Registry, Secret, StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A dataset version that is laid out; `splits` empty for a flat one."""

    place: StorePath
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A parent training and the names directly in its output."""

    number: int
    output: StorePath
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    server: str  # address under which the workload reaches the platform
    version: str
    token: Secret
    tree: Tree | None
    workspace: StorePath
    archive: StorePath
    parents: tuple[Parent, ...] = ()
    home: StorePath | None = None  # None: one that is thrown away
    volumes: tuple[Mount, ...] = ()  # of an administrator, for this tenant
    registries: tuple[Registry, ...] = ()  # that its person has credentials for
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # label → values that a node must have
    shm_mib: int | None = None  # largest /dev/shm; None: as the engine has it
    shared: bool = False  # its files are others' as well as the platform's, by their group
    authorities: StorePath | None = None  # a file of those to believe the platform's certificate by, beside its image's
    defaults: Mapping[str, str] = field(default_factory=dict)  # what an administrator set, e.g. proxies
