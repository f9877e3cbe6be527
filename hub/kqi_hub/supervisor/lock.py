"""One platform for each state: a lock that the system lets go of however its holder ends."""

import fcntl
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of this state. Raises ConfigError while another process does."""
    with _path(settings).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError("already_up", path=settings.state) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def held(settings: Settings) -> bool:
    """Return whether somebody holds the lock; the number in the file alone says nothing after a crash."""
    try:
        with _path(settings).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def end_holder(settings: Settings, seconds: float) -> bool:
    """Tell the holder to stop and wait for its end; False if there is none. Raises ConfigError if it goes on."""
    number = _holder(settings)
    if number is None:
        return False
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return False
    try:
        # Looked at once more: with the process in hand, its number cannot have changed owners.
        if _holder(settings) != number:
            return False
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not gone(process, seconds):
            raise ConfigError("down_not_yet", pid=number, seconds=round(seconds))
    finally:
        os.close(process)
    return True


def gone(process: int, seconds: float) -> bool:
    """Wait for the end of the process behind a pidfd; return whether it came in time."""
    ending = select.poll()
    ending.register(process, select.POLLIN)
    return bool(ending.poll(seconds * 1000))


def _holder(settings: Settings) -> int | None:
    if not held(settings):
        return None
    text = _path(settings).read_text("utf-8").strip()
    return int(text) if text.isdigit() else None


def _path(settings: Settings) -> Path:
    return settings.state / "run" / "supervisor.lock"
