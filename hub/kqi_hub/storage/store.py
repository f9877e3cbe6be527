"""Where things lie in the store, and the making of folders that workloads may write to."""

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kqi_hub.errors import ConfigError, TooLarge, Unavailable
from kqi_spawner.workload import StorePath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Store:
    """`owner` is the uid and gid of the workloads; None where they run as the platform's own account."""

    root: Path
    owner: tuple[int, int] | None = None

    def path(self, place: StorePath) -> Path:
        return self.root / place.text

    def prepare(self) -> None:
        """Make the store's top folders. Raises ConfigError if it cannot be written."""
        try:
            for name in ("blobs/sha256", "uploads", "datasets", "runs", "homes", "workspaces", "archives", "git"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError("store_not_writable", path=self.root, message=error.strerror or str(error)) from error

    def own(self, path: Path) -> Path:
        """Hand a folder or file to the workloads' account."""
        if self.owner is not None:
            os.chown(path, *self.owner, follow_symlinks=False)
        return path

    def folder(self, place: StorePath, *, mode: int = 0o755, shared: bool = False) -> Path:
        """Make a folder that workloads may write to; one that is there is left as it is, but `shared` where wished."""
        path = self.path(place)
        with answering_disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir(mode=mode)
                self.own(path)
            except FileExistsError:
                pass
            if shared:
                with _opened(path, _FOLDER) as folder:
                    _share(folder)
            return path

    def remove(self, place: StorePath) -> None:
        """Remove a folder and all in it, or a file; one that is not there is fine. Links are never followed."""
        path = self.path(place)
        with suppress(IsADirectoryError, FileNotFoundError, PermissionError):
            path.unlink()
        remove_tree(path)

    def size(self, place: StorePath) -> int:
        """Return the bytes of all files in a folder; what cannot be read is left out."""
        total, folders = 0, [self.path(place)]
        while folders:
            with suppress(OSError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        return total


def share_tree(path: Path) -> None:
    """Let the group do what the owner may with a folder and all in it; no link is followed. Blocks."""
    for _, _, files, folder in os.fwalk(path):
        _share(folder)
        for name in files:
            if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                with _opened(name, _FILE, folder) as file:
                    _share(file)


def _share(descriptor: int) -> None:
    """What is made in a folder later belongs to its group, too. What others made is theirs to open."""
    found = os.fstat(descriptor)
    if os.geteuid() in {0, found.st_uid}:
        inherited = stat.S_ISGID if stat.S_ISDIR(found.st_mode) else 0
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | (found.st_mode & stat.S_IRWXU) >> 3 | inherited)


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def syncfs(path: Path) -> None:
    """Write all of the file system that holds `path` to the disk: one call for ten thousand small files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Make a rename in this folder last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def answering_disk_errors() -> Iterator[None]:
    """Say what a disk means that is full, read-only or has no files of this size, instead of an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable("disk_full") from error
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}:
            raise Unavailable("store_read_only") from error
        if error.errno == errno.EFBIG:
            raise TooLarge("file_too_large") from error
        raise


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, however deep and whatever its modes; one that is not there is fine.

    Folders in folders are moved up to the top before they are taken apart: nothing recurses, no link is followed.
    """
    if path.is_symlink():
        raise AssertionError(f"{path} is a link")
    try:
        path.chmod(0o700)
        top = os.open(path, _FOLDER)
    except FileNotFoundError:
        return
    try:
        while names := os.listdir(top):
            for name in names:
                _take_apart(top, name)
    finally:
        os.close(top)
    with suppress(FileNotFoundError):
        path.rmdir()


def _take_apart(top: int, name: str) -> None:
    if not _is_folder_left(top, name):
        return
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        for inner in os.listdir(folder):
            if _is_folder_left(folder, inner):
                os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _is_folder_left(folder: int, name: str) -> bool:
    """Remove what is not a folder; open up what is one, because a program may have made it unwritable."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        with suppress(PermissionError):  # where it is another account's, our group must do
            os.chmod(name, 0o700, dir_fd=folder)
        return True
    except FileNotFoundError:
        pass
    return False
