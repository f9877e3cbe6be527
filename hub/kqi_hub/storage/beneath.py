"""Open what a person names inside a folder that other people's programs write to.

Every step is taken from a directory descriptor without following links, so that nothing outside is ever reached,
also when a folder is swapped for a link in between. Links themselves are listed as what they are and never opened.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from kqi_hub.errors import Conflict, NotFound

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK an open of a named pipe that a run left behind would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_TEMPORARY = re.compile(r"\.kqi-[0-9a-f]{16}\.tmp")
# What lies deeper has no name that a program could open it by; a run can make it all the same.
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    name: str
    folder: bool
    size: int | None
    changed_at: datetime


def parts(path: str) -> list[str]:
    """Return the parts of a relative path; raises NotFound for one that could lead elsewhere."""
    found = [part for part in path.split("/") if part]
    if "\0" in path or any(part in {".", ".."} for part in found):
        raise NotFound("file", path)
    return found


@contextmanager
def folder(root: Path, path: str) -> Iterator[int]:
    """Yield a descriptor of the folder `path` under `root`."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound("folder", path) from error
    try:
        for part in parts(path):
            inner = _open(part, _FOLDER, descriptor, path)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(root: Path, path: str) -> BinaryIO:
    """Open the regular file `path` under `root` for reading."""
    steps = parts(path)
    if not steps:
        raise NotFound("file", path)
    with folder(root, "/".join(steps[:-1])) as descriptor:
        opened = _open(steps[-1], _FILE, descriptor, path)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotFound("file", path)
    return os.fdopen(opened, "rb")


def entries(root: Path, path: str) -> list[Found]:
    """Return folders and regular files of a folder, sorted by name in byte order."""
    with folder(root, path) as descriptor, os.scandir(descriptor) as scan:
        found = []
        for entry in scan:
            if _showable(entry.name) and (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
                with suppress(FileNotFoundError):  # a program removed it since
                    found.append(_found(entry))
    return sorted(found, key=lambda item: item.name.encode())


def files(root: Path, path: str = "") -> Iterator[str]:
    """Yield the path, relative to the folder, of every regular file in it, depth first."""
    waiting = [(path, entry) for entry in reversed(entries(root, path))]
    while waiting:
        parent, entry = waiting.pop()
        inner = f"{parent}/{entry.name}" if parent else entry.name
        if not entry.folder:
            yield inner
        elif len(inner.encode()) < _LONGEST_PATH:
            with suppress(NotFound):  # a program removed it since
                waiting.extend((inner, deeper) for deeper in reversed(entries(root, inner)))


def _found(entry: os.DirEntry[str]) -> Found:
    info = entry.stat(follow_symlinks=False)
    is_folder = stat.S_ISDIR(info.st_mode)
    return Found(
        name=entry.name,
        folder=is_folder,
        size=None if is_folder else info.st_size,
        changed_at=datetime.fromtimestamp(info.st_mtime, UTC),
    )


def _showable(name: str) -> bool:
    """Names that are not UTF-8 cannot be said in JSON; they stay on the disk and in the zip is no place for them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _open(name: str, flags: int, descriptor: int, path: str) -> int:
    try:
        return os.open(name, flags, dir_fd=descriptor)
    except (OSError, ValueError) as error:
        raise NotFound("file", path) from error


@contextmanager
def replacing(root: Path, name: str, *, owner: tuple[int, int] | None = None) -> Iterator[BinaryIO]:
    """Yield a file that becomes `name` directly under `root` when the block ends well; nothing is left otherwise.

    A link of that name is replaced, never followed. Raises Conflict for a folder of that name.
    """
    if "/" in name or not parts(name):
        raise NotFound("file", name)
    with folder(root, "") as descriptor:
        temporary = f".kqi-{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(temporary, flags, 0o644, dir_fd=descriptor)
        try:
            with os.fdopen(opened, "wb") as file:
                if owner:
                    os.fchown(file.fileno(), *owner)
                yield file
                flush(file)
            _put(temporary, name, descriptor)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=descriptor)
            raise


def unfinished(name: str) -> bool:
    """Tell whether a file of this name is one that `replacing` is still writing."""
    return _TEMPORARY.fullmatch(name) is not None


def flush(file: BinaryIO) -> None:
    """Write all of a file to the disk, which may take seconds; done again, there is nothing left to do."""
    file.flush()
    os.fsync(file.fileno())


def _put(temporary: str, name: str, descriptor: int) -> None:
    try:
        os.replace(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except IsADirectoryError as error:
        raise Conflict("file_is_folder", path=name) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        raise NotFound("file", name) from error


def remove_file(root: Path, name: str) -> None:
    """Remove the file or link `name` directly under `root`. Raises NotFound."""
    if "/" in name or not parts(name):
        raise NotFound("file", name)
    with folder(root, "") as descriptor:
        try:
            os.unlink(name, dir_fd=descriptor)
        except (OSError, ValueError) as error:
            raise NotFound("file", name) from error
