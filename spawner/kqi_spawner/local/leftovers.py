"""Ends what a vanished supervisor left behind. Blocks, within bounds."""

import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kqi_spawner.local.ledger import Facts

_ROUNDS = 20
_ROUND_S = 1.0


def sweep(known: Facts) -> None:
    """Kill every process of the workload, then remove its groups and its run folder. Harmless if there is nothing."""
    for _ in range(_ROUNDS):
        if not _kill(known):
            break
    for group in known.groups:
        with suppress(OSError):
            os.rmdir(group)
    shutil.rmtree(known.run_folder, ignore_errors=True)


def _kill(known: Facts) -> bool:
    """Kill what is found and wait until it has ended; False if nothing was found."""
    found = list(_processes(known))
    try:
        for fd in found:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in found:
            ending = select.poll()
            ending.register(fd, select.POLLIN)
            ending.poll(_ROUND_S * 1000)
    finally:
        for fd in found:
            os.close(fd)
    return bool(found)


def _processes(known: Facts) -> Iterator[int]:
    """Yield a pidfd per process; it is looked at after the pidfd was opened, so that the number cannot change hands."""
    marker = f"KQI_WORKLOAD={known.marker}".encode()
    grouped = _grouped(known)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fd = os.pidfd_open(int(entry))
        except OSError:
            continue
        if _is_marked(entry, marker) or (int(entry) in grouped and int(entry) in _grouped(known)):
            yield fd
        else:
            os.close(fd)


def _is_marked(pid: str, marker: bytes) -> bool:
    try:
        return marker in Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _grouped(known: Facts) -> set[int]:
    found: set[int] = set()
    for group in known.groups:
        with suppress(OSError, ValueError):
            found.update(int(line) for line in Path(group, "cgroup.procs").read_text(encoding="ascii").split())
    return found
