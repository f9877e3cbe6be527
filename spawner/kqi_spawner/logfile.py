"""The log of a workload, which lies where the workload itself may write: anything can be planted in its place."""

import errno
import os
import secrets
import stat
from pathlib import Path

CHUNK = 1 << 16
# What opening says of a link, of a pipe that nobody writes to, and of a folder's place that something else has taken.
_PLANTED = {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR}


def create(file: Path) -> int:
    """Open it for appending, made if missing (mode 0640), and return the descriptor.

    What is there and is no plain file is put aside: an earlier attempt of the same run may have left a link there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            found = os.open(file, flags, 0o640)
            if stat.S_ISREG(os.fstat(found).st_mode):
                return found
            os.close(found)
        except OSError as error:
            if error.errno not in _PLANTED:
                raise
        file.rename(file.with_name(f"{file.name}.{secrets.token_hex(4)}"))


def read(file: Path, position: int) -> bytes:
    """Return up to `CHUNK` bytes from `position`; none where the file is missing, or is no plain file."""
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.open(file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return b""
    except OSError as error:
        if error.errno in _PLANTED:
            return b""
        raise
    try:
        return os.pread(found, CHUNK, position) if stat.S_ISREG(os.fstat(found).st_mode) else b""
    finally:
        os.close(found)
