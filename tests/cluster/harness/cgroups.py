"""Control groups of a node, apart from everybody else's."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def make(name: str) -> None:
    """Make the group in every hierarchy: of version 1 each controller has its own, of version 2 there is one."""
    for hierarchy in _hierarchies("cgroup"):
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists() and (hierarchy / file).exists():
                (folder / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> None:
    """Remove it with all below it; what just died may need a moment to leave."""
    for hierarchy in _hierarchies("cgroup", "cgroup2"):
        top = hierarchy / name
        until = time.monotonic() + 10
        while top.exists() and time.monotonic() < until:
            for folder in sorted(top.rglob("*"), reverse=True):
                if folder.is_dir():
                    with suppress(OSError):
                        folder.rmdir()
            with suppress(OSError):
                top.rmdir()
            if top.exists():
                time.sleep(0.05)


def named(prefix: str) -> set[str]:
    """Return the groups whose name begins so."""
    return {folder.name for hierarchy in _hierarchies("cgroup", "cgroup2") for folder in hierarchy.glob(f"{prefix}*")}


def _hierarchies(*kinds: str) -> Iterator[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        yield _ROOT
        return
    seen = set()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in kinds and target not in seen:
            seen.add(target)
            yield Path(target)
