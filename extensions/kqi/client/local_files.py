"""Files on this machine that are to be sent: found, named, hashed and divided into batches."""

import hashlib
import io
import os
import stat
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kqi.client.errors import BadFile
from kqi.schema import BATCH_BYTES, BATCH_FILES, SMALL_FILE, FilePath
from kqi.texts import say

# A batch is repeated as a whole when the connection breaks, held in memory, and read while others are stored: ours are
# smaller than allowed.
OUR_BATCH_FILES = min(1_000, BATCH_FILES)
OUR_BATCH_BYTES = min(16 * 2**20, BATCH_BYTES)
BLOCK = 512  # bytes; a tar has a header of one block, content in whole blocks, and ends with two, filled up to 20
TAR_END = 20 * BLOCK

_PATH: TypeAdapter[str] = TypeAdapter(FilePath)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file here and the path it gets there."""

    place: str
    path: str
    size: int


def _warn(place: Path) -> None:
    warnings.warn(say("error.left_out", path=ascii(str(place))), stacklevel=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What of a folder is sent: its files, those behind links as well, and on demand the folders behind links.

    `left_out` is told of all that is not sent: other links to folders, links to nothing, pipes, sockets, devices.
    """

    follow_links: bool = False
    left_out: Callable[[Path], None] = _warn


@dataclass(frozen=True, slots=True)
class Plan:
    """How files travel: small ones in batches, large ones in parts."""

    batches: list[list[LocalFile]]
    large: list[LocalFile]


def scan(paths: Iterable[str | os.PathLike[str]], taking: Taking | None = None) -> list[LocalFile]:
    """Return the files to send: a file keeps its name, a folder's files their paths inside it."""
    taking = taking or Taking()
    found: dict[str, LocalFile] = {}
    for path in map(Path, paths):
        for file in _below(path, taking):
            if file.path in found:
                raise BadFile("error.same_name", path=file.path, first=found[file.path].place, second=file.place)
            found[file.path] = file
    return list(found.values())


def plan(files: Sequence[LocalFile]) -> Plan:
    """Divide files so that each travels once and no batch is larger than allowed. Pure."""
    batches: list[list[LocalFile]] = []
    room = 0
    for file in (file for file in files if file.size <= SMALL_FILE):
        size = tar_size(file.size)
        if not batches or size > room or len(batches[-1]) >= OUR_BATCH_FILES:
            batches.append([])
            room = OUR_BATCH_BYTES - TAR_END
        batches[-1].append(file)
        room -= size
    return Plan(batches, [file for file in files if file.size > SMALL_FILE])


def tar_size(size: int) -> int:
    """Return the bytes that a file of `size` takes in a tar."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def tar(files: Sequence[LocalFile]) -> bytes:
    """Return a tar of the files, named by their numbers. Raises BadFile for one that has changed its size."""
    out = io.BytesIO()
    for number, file in enumerate(files):
        content = read(file)
        header = tarfile.TarInfo(str(number))
        header.size = len(content)
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        out.write(content)
        out.write(bytes(-len(content) % BLOCK))
    out.write(bytes(TAR_END - out.tell() % TAR_END))
    return out.getvalue()


def read(file: LocalFile) -> bytes:
    content = _content(file.place)
    if len(content) != file.size:
        raise BadFile("error.file_changed", path=file.place)
    return content


def read_part(file: LocalFile, start: int, size: int) -> bytes:
    with open(file.place, "rb") as stream:
        stream.seek(start)
        content = stream.read(size)
    if len(content) != min(size, file.size - start):
        raise BadFile("error.file_changed", path=file.place)
    return content


def hashes(files: Sequence[LocalFile]) -> list[str]:
    """Return the SHA-256 of each of some small files."""
    return [hashlib.sha256(_content(file.place)).hexdigest() for file in files]


def _content(place: str) -> bytes:
    with open(place, "rb", buffering=0) as stream:
        return stream.read()


def sha256(place: str | Path) -> str:
    with open(place, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _below(path: Path, taking: Taking) -> Iterator[LocalFile]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            yield from _in_folder(path, "", taking, {(status.st_dev, status.st_ino)})
        elif stat.S_ISREG(status.st_mode):
            yield _named(str(path), path.name, status.st_size)
        else:
            raise BadFile("error.not_a_file", path=path)
    except OSError as problem:
        raise BadFile("error.unreadable", path=problem.filename or path, reason=problem.strerror) from problem


def _in_folder(folder: Path, above: str, taking: Taking, around: set[tuple[int, int]]) -> Iterator[LocalFile]:
    """Yield the files below a folder, whose names there begin with `above`.

    `around` tells it and those above it, into which no link is followed.
    """
    folders: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        kind = Path(entry.path) if entry.is_symlink() else entry  # a listing raises for links in a circle
        if kind.is_dir():
            folders.append(entry)
        elif kind.is_file():
            yield _named(entry.path, above + entry.name, entry.stat().st_size)
        else:
            taking.left_out(Path(entry.path))
    for entry in folders:
        place = Path(entry.path)
        status = place.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in around or (entry.is_symlink() and not taking.follow_links):
            taking.left_out(place)
        else:
            yield from _in_folder(place, f"{above}{entry.name}/", taking, {*around, identity})


def _named(place: str, path: str, size: int) -> LocalFile:
    try:
        return LocalFile(place, _PATH.validate_python(path), size)
    except (ValidationError, UnicodeEncodeError) as problem:
        raise BadFile("error.bad_name", path=ascii(path)) from problem
