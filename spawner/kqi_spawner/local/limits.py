"""Limits by control groups (version 1 or 2) where this process may make them, and what the machine has in all."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kqi_spawner.workload import Resources

_PERIOD_US = 100_000
_GROUP = "kqi"
_TRIAL = "kqi-trial-{pid}"
# What the platform and the system themselves need on the machine.
_RESERVE_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Where groups of workloads are made: a folder per controller, or the same one for all (version 2)."""

    parents: Mapping[str, Path] = field(default_factory=dict)  # of `memory`, `cpu`, `pids`, `freezer`
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """The groups of one workload, and what is written into which of their files, in order."""

    groups: tuple[Path, ...] = ()
    writes: tuple[tuple[Path, str], ...] = ()
    optional: tuple[tuple[Path, str], ...] = ()  # not every kernel has these files
    oom_file: Path | None = None
    data_kib: int | None = None  # RLIMIT_DATA, where memory has no group
    threads: int | None = None  # a soft limit of the processor, where it has no group


def find_groups() -> Groups:
    """Return where control groups can be made, by making one. Blocks."""
    own = dict(_own_groups())
    unified = _unified(own.get("", "/"))
    if unified is not None:
        return Groups(parents=dict.fromkeys(("memory", "cpu"), unified), unified=True)
    parents = {}
    for controller in ("memory", "cpu", "pids", "freezer"):
        base = Path("/sys/fs/cgroup") / controller
        folder = base / own.get(controller, "/").lstrip("/")
        if (base / "cgroup.procs").exists() and folder.is_dir() and _can_make(folder):
            parents[controller] = folder
    return Groups(parents=parents)


def limit(groups: Groups, marker: str, resources: Resources) -> Limit:
    """Return what to make and write so that the workload keeps to `resources`. Pure."""
    memory, cpu = groups.parents.get("memory"), groups.parents.get("cpu")
    soft = {
        "data_kib": None if memory else resources.memory_mib * 1024,
        "threads": None if cpu else max(1, -(-resources.cpu_milli // 1000)),
    }
    folders = {kind: parent / _GROUP / marker for kind, parent in groups.parents.items()}
    if groups.unified:
        return _unified_limit(folders["memory"], resources)
    writes, optional = [], []
    size, quota = str(resources.memory_mib * 2**20), str(resources.cpu_milli * _PERIOD_US // 1000)
    if memory:
        writes.append((folders["memory"] / "memory.limit_in_bytes", size))
        optional.append((folders["memory"] / "memory.memsw.limit_in_bytes", size))
    if cpu:
        writes.append((folders["cpu"] / "cpu.cfs_period_us", str(_PERIOD_US)))
        writes.append((folders["cpu"] / "cpu.cfs_quota_us", quota))
    return Limit(
        groups=tuple(dict.fromkeys(folders.values())),
        writes=tuple(writes),
        optional=tuple(optional),
        oom_file=folders["memory"] / "memory.oom_control" if memory else None,
        **soft,
    )


def machine_cpu_milli() -> int:
    """Return the processors this process may use, in thousandths."""
    return len(os.sched_getaffinity(0)) * 1000


def machine_memory_mib() -> int:
    """Return the memory of the machine less what the platform keeps for itself."""
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:")) // 1024
    return max(total - min(_RESERVE_MIB, total // 8), 1)


def _unified_limit(folder: Path, resources: Resources) -> Limit:
    writes = (
        (folder / "memory.max", str(resources.memory_mib * 2**20)),
        (folder / "cpu.max", f"{resources.cpu_milli * _PERIOD_US // 1000} {_PERIOD_US}"),
    )
    optional = ((folder / "memory.swap.max", "0"), (folder / "memory.oom.group", "1"))
    return Limit(groups=(folder,), writes=writes, optional=optional, oom_file=folder / "memory.events")


def _own_groups() -> Iterator[tuple[str, str]]:
    """Yield (controller, path of our own group); the controller of version 2 is the empty text."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _unified(own: str) -> Path | None:
    root = Path("/sys/fs/cgroup")
    if not (root / "cgroup.controllers").exists():
        return None
    here = root / own.lstrip("/")
    # A group that holds processes cannot hand controllers to children, so an ancestor may be the one that can.
    for folder in (here, *here.parents):
        if not folder.is_relative_to(root):
            break
        if _can_limit(folder):
            return folder
    return None


def _can_limit(folder: Path) -> bool:
    _write(folder / "cgroup.subtree_control", "+memory +cpu")
    parent = folder / _GROUP
    try:
        parent.mkdir(exist_ok=True)
        _write(parent / "cgroup.subtree_control", "+memory +cpu")
        trial = parent / _TRIAL.format(pid=os.getpid())
        trial.mkdir(exist_ok=True)
        files = [trial / "memory.max", trial / "cpu.max", folder / "cgroup.procs"]
        good = all(file.exists() and os.access(file, os.W_OK) for file in files)
        trial.rmdir()
    except OSError:
        return False
    return good


def _can_make(folder: Path) -> bool:
    trial = folder / _GROUP / _TRIAL.format(pid=os.getpid())
    try:
        trial.mkdir(parents=True, exist_ok=True)
        trial.rmdir()
    except OSError:
        return False
    return True


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="ascii")
    except OSError:
        return
