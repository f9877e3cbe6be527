"""Files that come in parts: one sparse file, each part written in its place and checked on the way."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from kqi_hub.errors import Invalid
from kqi_hub.storage.store import answering_disk_errors


def create(path: Path, size: int) -> None:
    """Make the file of `size` bytes; what is there of an earlier attempt is kept."""
    with answering_disk_errors(), path.open("ab") as file:
        file.truncate(size)


async def write_part(path: Path, offset: int, length: int, sha256: str, chunks: AsyncIterator[bytes]) -> None:
    """Write `length` bytes at `offset`. Raises Invalid when length or hash differ: then the part does not count."""
    digest, position = hashlib.sha256(), 0
    with answering_disk_errors():
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            async for chunk in chunks:
                if position + len(chunk) > length:
                    raise Invalid("part_wrong_length", expected=length)
                _write_all(descriptor, chunk, offset + position)
                digest.update(chunk)
                position += len(chunk)
            if position != length:
                raise Invalid("part_wrong_length", expected=length)
            if digest.hexdigest() != sha256:
                raise Invalid("part_wrong_hash")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
