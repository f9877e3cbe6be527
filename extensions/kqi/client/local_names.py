"""Names for what is downloaded: never outside the target folder, never two for one, on every system. Pure."""

import re
import sys
import unicodedata
from collections.abc import Iterable
from enum import Enum
from pathlib import PurePosixPath

from kqi.client.errors import BadFile

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')


class Naming(Enum):
    """The rules for file names of a system."""

    LINUX = "linux"
    MACOS = "darwin"  # capital and small letters are the same
    WINDOWS = "win32"  # also signs and names that are not allowed

    @classmethod
    def here(cls) -> "Naming":
        return {"win32": cls.WINDOWS, "darwin": cls.MACOS}.get(sys.platform, cls.LINUX)


def layout(paths: Iterable[str], naming: Naming) -> dict[str, PurePosixPath]:
    """Return where each path goes below the target. Raises BadFile for a path that would lead outside."""
    taken: dict[tuple[PurePosixPath, str], tuple[str, bool]] = {}
    places: dict[str, PurePosixPath] = {}
    for path in paths:
        parts = _parts(path)
        place = PurePosixPath()
        for depth, part in enumerate(parts):
            identity = (part, depth == len(parts) - 1)
            place /= _free_name(taken, place, identity, naming)
        places[path] = place
    return places


def allowed(part: str, naming: Naming) -> str:
    """Return a part of a path as the system can hold it."""
    if naming is not Naming.WINDOWS:
        return part
    name = _FORBIDDEN.sub("_", part)
    if name[-1] in " .":
        name = name[:-1] + "_"
    stem, dot, rest = name.partition(".")
    if _RESERVED.fullmatch(stem.strip()):
        name = f"{stem}_{dot}{rest}"
    return name


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\x00" in part for part in parts):
        raise BadFile("error.unsafe_name", path=ascii(path))
    return parts


def _free_name(
    taken: dict[tuple[PurePosixPath, str], tuple[str, bool]],
    folder: PurePosixPath,
    identity: tuple[str, bool],
    naming: Naming,
) -> str:
    wanted = allowed(identity[0], naming)
    number = 1
    while True:
        name = wanted if number == 1 else _numbered(wanted, number)
        if taken.setdefault((folder, _same(name, naming)), identity) == identity:
            return name
        number += 1


def _numbered(name: str, number: int) -> str:
    stem, dot, rest = name.partition(".")
    return f"{stem}~{number}{dot}{rest}"


def _same(name: str, naming: Naming) -> str:
    """Return what two names have in common when the system takes them for one."""
    return (
        name if naming is Naming.LINUX else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    )
