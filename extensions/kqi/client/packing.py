"""Pack a folder of code so that the same content always gives the same bytes, and so the same hash."""

import fnmatch
import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kqi.client.errors import BadFile

# What is made from code, or is its history, is not code; the names are those that tools give it.
LEFT_OUT = (
    ".git", ".hg", ".svn", "__pycache__", "*.py[cod]", ".venv", "venv", "node_modules", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".ipynb_checkpoints", ".tox", ".nox", "*.egg-info", ".DS_Store", "Thumbs.db",
)  # fmt: skip


def pack(folder: Path, out: BinaryIO) -> int:
    """Write a `.tar.gz` of the folder and return how many files it holds; times, owners and order do not matter."""
    count = 0
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for place in contents(folder):
            header = tarfile.TarInfo(place.relative_to(folder).as_posix())
            if place.is_symlink():
                header.type = tarfile.SYMTYPE
                header.linkname = Path(os.readlink(place)).as_posix()
                archive.addfile(header)
                continue
            with place.open("rb") as content:
                status = os.fstat(content.fileno())
                header.size = status.st_size
                header.mode = 0o755 if status.st_mode & 0o100 and os.name != "nt" else 0o644
                archive.addfile(header, content)
            count += 1
    return count


def contents(folder: Path) -> Iterator[Path]:
    """Yield the files and links of a folder in the order of their paths, without what is left out."""
    if not folder.is_dir():
        raise BadFile("error.not_a_folder", path=folder)
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as problem:
        raise BadFile("error.unreadable", path=folder, reason=problem.strerror) from problem
    for entry in entries:
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in LEFT_OUT):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from contents(entry)
        elif entry.is_symlink() or entry.is_file():
            yield entry
