"""Pack and unpack trees that people could write to: no link is followed, nothing leaves the folder.

Not `tarfile`'s own: its `data` filter refuses absolute links, which every virtual environment in a home has, and drops
owners; its `add` fails on a file that vanishes or shrinks meanwhile.
"""

import errno
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_KEPT_BITS = 0o777  # no set-user-id bit comes back


class Unsafe(Exception):
    """The archive holds something that no backup of ours does."""


@dataclass(slots=True)
class Packer:
    """Adds trees to an archive, also while they change. A file with several names is stored once."""

    archive: tarfile.TarFile
    _seen: dict[tuple[int, int], str] = field(default_factory=dict)

    def add(self, top: Path, name: str) -> None:
        """Add the folder `top` under `name`. Sockets, pipes and devices are left out."""
        self._folder(name, top.stat())
        for root, folders, files, descriptor in os.fwalk(top, onerror=_unless_gone):
            below = PurePosixPath(name, os.path.relpath(root, top))
            for entry in sorted(folders) + sorted(files):
                self._entry(str(below / entry), entry, descriptor)

    def _entry(self, name: str, entry: str, folder: int) -> None:
        try:
            found = os.stat(entry, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._folder(name, found)
            elif stat.S_ISLNK(found.st_mode):
                self._link(name, os.readlink(entry, dir_fd=folder), found)
            elif stat.S_ISREG(found.st_mode):
                self._file(name, os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            # Changed into a link or a pipe between the look and the opening: the next backup shows it as one.
            if error.errno not in {errno.ELOOP, errno.ENXIO}:
                raise

    def _folder(self, name: str, found: os.stat_result) -> None:
        self.archive.addfile(_member(name, found, tarfile.DIRTYPE))

    def _link(self, name: str, target: str, found: os.stat_result) -> None:
        member = _member(name, found, tarfile.SYMTYPE)
        member.linkname = target
        self.archive.addfile(member)

    def _file(self, name: str, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return
            key = (found.st_dev, found.st_ino)
            member = _member(name, found, tarfile.REGTYPE)
            if found.st_nlink > 1 and key in self._seen:
                member.type, member.linkname = tarfile.LNKTYPE, self._seen[key]
                self.archive.addfile(member)
                return
            self._seen[key] = name
            member.size = found.st_size
            self.archive.addfile(member, _Exactly(file, found.st_size))


class _Exactly(io.RawIOBase):
    """The first `size` bytes of a file, with zeros in place of what was cut off while we read."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._file.read(wanted)
        self._left -= wanted
        return found + b"\0" * (wanted - len(found))


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owned the work where the backup was made, and who does here: their numbers differ between machines."""

    then: tuple[int, int] | None
    here: tuple[int, int] | None

    def give(self, member: tarfile.TarInfo, place: Path) -> None:
        if self.then and self.here and (member.uid, member.gid) == self.then:
            os.chown(place, *self.here, follow_symlinks=False)


def unpack(members: Iterator[tarfile.TarInfo], archive: tarfile.TarFile, into: Path, owners: Owners) -> None:
    """Write the members below the empty folder `into`. Raises Unsafe for one that would lie elsewhere."""
    folders: list[tuple[Path, int]] = []
    for member in members:
        place = _place(into, member.name)
        if member.isdir():
            place.mkdir(exist_ok=True)
            folders.append((place, member.mode & _KEPT_BITS))
        elif member.isreg():
            _write(archive, member, place)
        elif member.issym():
            place.symlink_to(member.linkname)
        elif member.islnk():
            os.link(_regular(_place(into, member.linkname)), place, follow_symlinks=False)
        else:
            raise Unsafe(member.name)
        owners.give(member, place)
    # Last: a folder that may not be written to must first get its files.
    for place, mode in reversed(folders):
        place.chmod(mode)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise Unsafe(member.name)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file)
        os.fchmod(descriptor, member.mode & _KEPT_BITS)
    os.utime(place, (member.mtime, member.mtime))


def _place(into: Path, name: str) -> Path:
    """Return where a member lies; every folder on the way is a real one, made if missing."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise Unsafe(name)
    place = into
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise Unsafe(name)
        place.mkdir(exist_ok=True)
    return place / parts[-1]


def _regular(place: Path) -> Path:
    if place.is_symlink() or not place.is_file():
        raise Unsafe(str(place))
    return place


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _member(name: str, found: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, stat.S_IMODE(found.st_mode), int(found.st_mtime)
    member.uid, member.gid = found.st_uid, found.st_gid
    return member
