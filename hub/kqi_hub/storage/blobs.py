"""Blobs: each file's bytes once, read-only, under the SHA-256 of their content."""

import hashlib
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kqi_hub.errors import Invalid, TooLarge
from kqi_hub.storage.store import Store, answering_disk_errors, fsync_folder, syncfs

_CHUNK = 2**20


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

    def path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def touch(self, sha256: str, size: int) -> bool:
        """Make a blob count as sent just now, so that it is kept; False if it is not there, or not whole."""
        path = self.path(sha256)
        try:
            os.utime(path)
            return path.stat().st_size == size
        except FileNotFoundError:
            return False

    def open(self, sha256: str) -> BinaryIO:
        return self.path(sha256).open("rb")

    def take(self, file: Path, sha256: str) -> None:
        """Make `file`, whose content has been checked and is on the disk, the blob; `file` is gone afterwards."""
        with answering_disk_errors():
            os.chmod(file, 0o444)
            os.utime(file)  # its age counts from here, not from the last part
            target = self._place(sha256)
            os.replace(file, target)
            fsync_folder(target.parent)

    def take_batch(self, tar: Path, *, files: int, size: int, check: Callable[[str], None]) -> list[Stored]:
        """Store every regular file of an uncompressed tar; nothing counts before all of it is on the disk.

        `check` raises for a path that is not to be had. At most `files` files and `size` bytes.
        """
        stored: list[Stored] = []
        total = 0
        with answering_disk_errors():
            for name, content in _members(tar):
                check(name)
                total += len(content)
                if len(stored) == files or total > size:
                    raise TooLarge("batch_too_large", files=files, bytes=size)
                sha256 = hashlib.sha256(content).hexdigest()
                if not self.touch(sha256, len(content)):
                    self._write(sha256, content)
                stored.append(Stored(path=name, sha256=sha256, size=len(content)))
            syncfs(self._root)
        return stored

    def _write(self, sha256: str, content: bytes) -> None:
        temporary = self.incoming / f".{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, self._place(sha256))
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _place(self, sha256: str) -> Path:
        target = self.path(sha256)
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
        return target


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
