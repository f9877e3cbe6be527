"""Blobs: each file's bytes once, read-only, under the SHA-256 of their content."""

import fcntl
import hashlib
import os
import secrets
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from kqi_hub.errors import Invalid, TooLarge
from kqi_hub.storage.partial import write_all
from kqi_hub.storage.store import Store, answering_disk_errors, fsync_folder, syncfs

_ASIDE = ".aside-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    path: str
    sha256: str
    size: int


class Blobs:
    """All methods block: call them in a thread."""

    def __init__(self, store: Store) -> None:
        self._root = store.root / "blobs" / "sha256"
        self.incoming = store.root / "uploads"
        self._lock = store.root / "blobs.lock"

    def path(self, sha256: str) -> Path:
        return Path(self._place(sha256))

    def has(self, sha256: str) -> bool:
        return os.path.exists(self._place(sha256))

    def _place(self, sha256: str) -> str:
        # Not joined by Path: ten thousand small files at a time ask.
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def touch(self, sha256: str, size: int) -> bool:
        """Make a blob count as sent just now, so that it is kept; False if it is not there, or not whole."""
        path = self._place(sha256)
        try:
            if os.stat(path).st_size != size:
                return False
            os.utime(path)
            return True
        except FileNotFoundError:
            return False

    def open(self, sha256: str) -> BinaryIO:
        return self.path(sha256).open("rb")

    def take(self, file: Path, sha256: str) -> None:
        """Make `file`, whose content has been checked and is on the disk, the blob; `file` is gone afterwards."""
        with answering_disk_errors():
            os.chmod(file, 0o444)
            os.utime(file)  # its age counts from here, not from the last part
            fsync_folder(Path(self._put(file, sha256)).parent)

    def take_batch(self, tar: Path, *, files: int, size: int, check: Callable[[str], None]) -> list[Stored]:
        """Store every regular file of an uncompressed tar; nothing counts before all of it is on the disk.

        `check` raises for a path that is not to be had. At most `files` files and `size` bytes.
        """
        stored: list[Stored] = []
        total = 0
        temporary = f"{self.incoming}/.{secrets.token_hex(8)}"
        with answering_disk_errors():
            for name, content in _members(tar):
                check(name)
                total += len(content)
                if len(stored) == files or total > size:
                    raise TooLarge("batch_too_large", files=files, bytes=size)
                sha256 = hashlib.sha256(content).hexdigest()
                if not self.touch(sha256, len(content)):
                    self._write(sha256, content, temporary)
                stored.append(Stored(path=name, sha256=sha256, size=len(content)))
            syncfs(self._root)
        return stored

    def prefixes(self) -> list[str]:
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())

    def old(self, prefix: str, before: datetime) -> list[str]:
        """Return the blobs of a folder that were not sent since `before`."""
        return [name for name in _older(self._root / prefix, before) if len(name) == 64]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have no blob removed meanwhile, by no process."""
        with self._lock.open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def remove_each(self, hashes: Iterable[str], before: datetime) -> int:
        """Remove those that were not sent since `before`, none while somebody has all kept; return how many."""
        with self._lock.open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            return sum(self.remove(sha256, before) for sha256 in hashes)

    def remove(self, sha256: str, before: datetime) -> bool:
        """Remove a blob that was not sent since `before`. The caller knows that nothing refers to it, and is alone."""
        aside = self.incoming / f"{_ASIDE}{sha256}"
        try:
            os.rename(self.path(sha256), aside)
        except FileNotFoundError:
            return False
        # Somebody may have touched it after it was found old: now that it is aside nobody can any more.
        if aside.stat().st_mtime >= before.timestamp():
            self._put_back(aside)
            return False
        aside.unlink()
        return True

    def put_back(self) -> None:
        """Put back what a crash left aside; the next look decides again. The caller is alone."""
        for aside in self.incoming.glob(f"{_ASIDE}*"):
            self._put_back(aside)

    def touched(self, incoming: Iterable[str], since: datetime) -> set[str]:
        """Return those of the incoming files that were written to since then."""
        return {name for name in incoming if _modified(self.incoming / name) >= since.timestamp()}

    def old_incoming(self, before: datetime) -> list[str]:
        return [name for name in _older(self.incoming, before) if not name.startswith(_ASIDE)]

    def drop_incoming(self, names: Iterable[str]) -> None:
        for name in names:
            (self.incoming / name).unlink(missing_ok=True)

    def _put_back(self, aside: Path) -> None:
        target = self.path(aside.name.removeprefix(_ASIDE))
        try:
            os.link(aside, target)
        except FileExistsError:
            pass  # sent again since
        except OSError:  # no further links here
            os.replace(aside, target)
        aside.unlink(missing_ok=True)

    def _write(self, sha256: str, content: bytes, temporary: str) -> None:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            try:
                write_all(descriptor, content, 0)
            finally:
                os.close(descriptor)
            self._put(temporary, sha256)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _put(self, file: Path | str, sha256: str) -> str:
        """Move a file to its place and return that."""
        target = self._place(sha256)
        try:
            os.replace(file, target)
        except FileNotFoundError:  # the first one of its folder
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(file, target)
        return target


def _older(folder: Path, before: datetime) -> list[str]:
    limit = before.timestamp()
    return sorted(name for name in os.listdir(folder) if 0 < _modified(folder / name) < limit)


def _modified(path: Path) -> float:
    """Return when a regular file was last written to or touched; 0 for what is not there or no such file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_mtime if stat.S_ISREG(found.st_mode) else 0


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _members(tar: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(tar, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                if not member.isreg():
                    raise Invalid("batch_only_files", name=member.name[:200])
                source = archive.extractfile(member)
                content = source.read() if source else b""
                if len(content) != member.size:
                    raise Invalid("batch_cut_short")
                yield member.name, content
    except tarfile.TarError as error:
        raise Invalid("batch_not_tar") from error
