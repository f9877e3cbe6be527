"""Unpack a folder that a client packed: regular files, folders and inner links only, within bounds."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO

from kqi_hub.errors import Invalid

MAX_FILES = 200_000
MAX_BYTES = 20 * 2**30
# A ratio above this is a bomb, not code.
_MAX_RATIO = 200


def unpack(file: BinaryIO, target: Path, owner: tuple[int, int] | None = None) -> None:
    """Unpack a `.tar.gz` to `target`, which must not exist; whole or not at all; hand it to `owner`. Blocks."""
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o755)
    size = os.fstat(file.fileno()).st_size
    try:
        with tarfile.open(fileobj=file, mode="r:gz", encoding="utf-8", errors="surrogateescape") as archive:
            _extract(archive, building, size)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, tarfile.ReadError) and error.errno:
            raise
        shutil.rmtree(building, ignore_errors=True)
        raise Invalid("archive_not_readable", message=str(error)[:200]) from error
    if owner:
        for root, folders, files in os.walk(building):
            for name in (*folders, *files):
                os.chown(os.path.join(root, name), *owner, follow_symlinks=False)
        os.chown(building, *owner)
    os.replace(building, target)


def _extract(archive: tarfile.TarFile, target: Path, packed: int) -> None:
    total = 0
    for count, member in enumerate(archive):
        total += member.size
        if count >= MAX_FILES or total > MAX_BYTES or total > max(packed, 2**16) * _MAX_RATIO:
            raise Invalid("archive_too_large", files=MAX_FILES, bytes=MAX_BYTES)
        # The `data` filter refuses absolute names, `..`, links that lead out, devices, and set-uid bits.
        archive.extract(member, target, set_attrs=True, filter="data")
