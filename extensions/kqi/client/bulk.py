"""Bring many small files in one request: as the zip of all, of which each is checked as if it came alone."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kqi.client.downloading import Remote, bring_all, is_there, part_name
from kqi.client.errors import ConnectionFailed
from kqi.client.exchange import open_body
from kqi.client.local_names import Naming, layout
from kqi.client.progress import Meter, Report
from kqi.client.steps import HttpRequest, Read, Steps, work
from kqi.schema import SMALL_FILE

# Fewer files are not worth a second copy on the disk; more bytes would be lost by a cut, for a zip cannot be resumed.
FEWEST = 64
LARGEST = 2**30


def download(
    files: Sequence[Remote], folder: Path, report: Report | None = None, archive: str | None = None
) -> Steps[list[Path]]:
    """Bring files below a folder and return their places. Files that are there already are not sent."""
    places = layout((file.path for file in files), Naming.here())
    targets = {file.path: folder / Path(places[file.path]) for file in files}
    meter = Meter(len(files), sum(file.size for file in files), report)
    missing = yield from work(partial(_missing, files, targets))
    here = set(targets) - {file.path for file in missing}
    meter.add(files=len(here), size=sum(file.size for file in files if file.path in here))
    if archive and worth_a_zip(files, missing):
        unpacked = yield from _by_zip(archive, missing, targets, folder)
        meter.add(files=len(unpacked), size=sum(file.size for file in missing if file.path in unpacked))
        missing = [file for file in missing if file.path not in unpacked]
    yield from bring_all(missing, targets, meter)
    return [targets[file.path] for file in files]


def worth_a_zip(files: Sequence[Remote], missing: Sequence[Remote]) -> bool:
    """Tell whether the zip of all files is a good way to bring the missing ones. Pure."""
    small = sum(1 for file in missing if file.size <= SMALL_FILE)
    total = sum(file.size for file in files)
    wanted = sum(file.size for file in missing)
    return small >= FEWEST and total <= LARGEST and 2 * wanted >= total


def _by_zip(archive: str, files: Sequence[Remote], targets: dict[str, Path], folder: Path) -> Steps[set[str]]:
    """Return the paths of the files that came whole; the others are left to be brought alone."""
    yield from work(partial(folder.mkdir, parents=True, exist_ok=True))
    packed = folder / part_name(archive)
    try:
        with packed.open("wb") as out:
            opened = yield from open_body(HttpRequest(method="GET", path=archive, silence_s=300))
            while piece := (yield Read(opened)):
                yield from work(partial(out.write, piece))
        return (yield from work(partial(unpack, packed, files, targets)))
    except ConnectionFailed:
        return set()
    finally:
        packed.unlink(missing_ok=True)


def unpack(packed: Path, files: Sequence[Remote], targets: dict[str, Path]) -> set[str]:
    """Put the files whose hashes are right in their places; what else the zip holds is not looked at."""
    unpacked: set[str] = set()
    try:
        with zipfile.ZipFile(packed) as archive:
            held = set(archive.namelist())
            for file in files:
                if file.path in held and _take(archive, file, targets[file.path]):
                    unpacked.add(file.path)
    except zipfile.BadZipFile:
        return unpacked
    return unpacked


def _take(archive: zipfile.ZipFile, file: Remote, target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(part_name(file.path))
    digest = hashlib.sha256()
    with archive.open(file.path) as content, fresh.open("wb") as out:
        while piece := content.read(2**20):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != file.sha256:
        fresh.unlink()
        return False
    os.replace(fresh, target)
    return True


def _missing(files: Sequence[Remote], targets: dict[str, Path]) -> list[Remote]:
    return [file for file in files if not is_there(file, targets[file.path])]
