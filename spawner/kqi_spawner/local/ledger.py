"""One folder per workload: what was asked, when it began, how it ended. No file is shared between workloads.

The supervisor holds a lock on `lock` for as long as it lives. `exit`, written by it alone, is the only source of the
exit code. All functions block; callers run them in a thread.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import Phase, Reason, WorkloadStatus

# No names of workloads: folders that a crash may leave in the middle of their making or of their removal.
NEW, GONE = ".new-", ".gone-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What later processes of the platform need to know of a workload."""

    marker: str
    log: str
    run_folder: str
    groups: tuple[str, ...] = ()


def names(ledger: Path) -> Iterator[WorkloadName]:
    """Yield the name of every workload that is kept."""
    for entry in sorted(ledger.iterdir()):
        with contextlib.suppress(ValueError):
            yield checked_name(entry.name)


def status(folder: Path) -> WorkloadStatus:
    """Return what is known. The order of the look-ups matters: the supervisor may act between any two of them."""
    if not folder.is_dir():
        return WorkloadStatus(phase=Phase.ABSENT)
    ended = _exit(folder)
    if ended is not None:
        return ended
    # Before the lock: a supervisor that begins after we found the lock free must not be taken for a lost one.
    began = (folder / "started").exists()
    if held(folder):
        phase = Phase.RUNNING if (folder / "started").exists() else Phase.PENDING
        return WorkloadStatus(phase=phase, started_at=_started(folder))
    ended = _exit(folder)
    if ended is not None:
        return ended
    if began:
        message = "its supervisor vanished (killed, or the machine was restarted)"
        return WorkloadStatus(phase=Phase.LOST, started_at=_started(folder), reason=Reason.LOST, message=message)
    if not folder.is_dir():
        return WorkloadStatus(phase=Phase.ABSENT)
    return WorkloadStatus(phase=Phase.PENDING)


def held(folder: Path) -> bool:
    """Return whether the supervisor lives. Looking takes the lock for an instant, shared with others who look."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def supervisor(folder: Path) -> int | None:
    """Return a pidfd of the living supervisor, or None. The caller closes it."""
    try:
        pid = int((folder / "pid").read_text(encoding="ascii"))
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    # Looked at after the pidfd was opened: the number cannot have changed hands in between.
    if held(folder) and _works_in(pid, folder):
        return fd
    os.close(fd)
    return None


def ask_stop(folder: Path, grace_s: float) -> None:
    """Record that the workload must end. The shortest grace of several counts from its own moment."""
    text = f"{grace_s:.3f}" if grace_s > 0 else "0"
    write(folder / "stop", text + "\n")


def facts(folder: Path) -> Facts | None:
    """Return the facts, or None for a name that is not kept."""
    try:
        read = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Facts(marker=read["marker"], log=read["log"], run_folder=read["run_folder"], groups=tuple(read["groups"]))


def facts_text(known: Facts) -> str:
    return json.dumps(asdict(known), ensure_ascii=False)


def write(file: Path, text: str) -> None:
    """Write it whole or not at all, also over a power cut."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(folder: Path) -> None:
    """Forget the workload, whole or not at all: who writes to its folder meanwhile finds none."""
    gone = folder.with_name(f"{GONE}{folder.name}.{secrets.token_hex(6)}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def _exit(folder: Path) -> WorkloadStatus | None:
    try:
        text = (folder / "exit").read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return None
    read = dict(part.partition("=")[::2] for part in text.split())
    reason = Reason(read["reason"]) if read.get("reason") else None
    never_began = reason is Reason.CANNOT_START or not read.get("code")
    return WorkloadStatus(
        phase=Phase.EXITED,
        started_at=None if never_began else _started(folder),
        finished_at=_moment(read["finished"]),
        exit_code=int(read["code"]) if read.get("code") else None,
        reason=reason,
        message=_problem(folder) if reason is Reason.CANNOT_START else "",
    )


def _started(folder: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp((folder / "started").stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _problem(folder: Path) -> str:
    try:
        text = (folder / "problem").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    return " ".join(text.split())[:500] or "the sandbox could not be set up"


def _moment(epoch: str) -> datetime:
    return datetime.fromtimestamp(float(epoch), UTC)
