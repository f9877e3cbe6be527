"""Where things lie in the store, and the making of folders that workloads may write to."""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kqi_hub.errors import ConfigError, Unavailable
from kqi_spawner.workload import StorePath

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
            for name in ("blobs/sha256", "uploads", "datasets", "runs", "homes", "git"):
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

    def folder(self, place: StorePath, *, mode: int = 0o755) -> Path:
        """Make a folder that workloads may write to; one that is there is left as it is."""
        path = self.path(place)
        with answering_disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir(mode=mode)
            except FileExistsError:
                return path
            return self.own(path)

    def remove(self, place: StorePath) -> None:
        """Remove a folder and all in it; one that is not there is fine. Links in it are removed, never followed."""
        path = self.path(place)
        if path.is_symlink():
            raise AssertionError(f"{place} is a link")
        shutil.rmtree(path, ignore_errors=False, onerror=_grudging)


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
    """Say what a full or read-only disk means, instead of an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable("disk_full") from error
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}:
            raise Unavailable("store_read_only") from error
        raise


def _grudging(function: object, path: str, info: tuple[type[BaseException], BaseException, object]) -> None:
    """A folder that a program made unwritable is opened up and removed once more."""
    error = info[1]
    if isinstance(error, FileNotFoundError):
        return
    if isinstance(error, PermissionError):
        parent = os.path.dirname(path)
        os.chmod(parent, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return
    raise error
