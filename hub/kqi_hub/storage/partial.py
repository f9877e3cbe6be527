"""Files that come in parts: one sparse file, each part written in its place and checked on the way."""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from kqi_hub.errors import Conflict, Invalid
from kqi_hub.storage.store import answering_disk_errors


def create(path: Path, size: int) -> None:
    """Make the file of `size` bytes; what is there of an earlier attempt is kept."""
    with answering_disk_errors(), path.open("ab") as file:
        file.truncate(size)


async def write_part(path: Path, offset: int, length: int, sha256: str, chunks: AsyncIterator[bytes]) -> None:
    """Write `length` bytes at `offset`. Raises Invalid when length or hash differ: then the part does not count.

    Raises FileNotFoundError or Conflict when the file is completed meanwhile.
    """
    digest, position = hashlib.sha256(), 0
    with answering_disk_errors():
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            async for chunk in chunks:
                if position + len(chunk) > length:
                    raise Invalid("part_wrong_length", expected=length)
                with _still_partial(descriptor, path):
                    write_all(descriptor, chunk, offset + position)
                digest.update(chunk)
                position += len(chunk)
            if position != length:
                raise Invalid("part_wrong_length", expected=length)
            if digest.hexdigest() != sha256:
                raise Invalid("part_wrong_hash")
            await asyncio.to_thread(os.fdatasync, descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def sealed(path: Path) -> Iterator[None]:
    """Keep parts from being written while the block looks at the file and moves it away. Blocks."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _still_partial(descriptor: int, path: Path) -> Iterator[None]:
    # Asked for each chunk: a sender may linger for hours, and by then the same file may be a blob that others trust.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict("upload_complete") from error
    try:
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def write_all(descriptor: int, chunk: bytes, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
