"""Bring files here: several at a time, continued after a cut, checked, and put in their place in one step."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kqi.client.errors import ApiError, ConnectionFailed, Damaged
from kqi.client.exchange import open_body
from kqi.client.local_files import sha256
from kqi.client.progress import Meter
from kqi.client.steps import HttpRequest, Opened, Pause, Read, Steps, together, work

AT_ONCE = 8
CUTS = 5  # without a single byte between them; a connection that brings something may break as often as it likes
PAUSE_S = 1.0
_SAME_TIME_NS = 10**6  # not every file system keeps all digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file there: its URL path, the path it is known by, and what is known of its content."""

    url: str
    path: str
    size: int = 0
    sha256: str | None = None
    changed_ns: int | None = None  # where there is no hash, size and time of the last change tell it from another
    query: tuple[tuple[str, str | int | None], ...] = ()


def bring_all(files: Sequence[Remote], targets: Mapping[str, Path], meter: Meter) -> Steps[None]:
    """Bring files to their targets, several at a time."""
    yield from together((bring(file, targets[file.path], meter) for file in files), AT_ONCE)


def bring(file: Remote, target: Path, meter: Meter) -> Steps[Path]:
    """Bring one file to `target`. Raises Damaged when its hash is wrong; nothing is left at the target then."""
    fresh = target.with_name(part_name(file.path))
    yield from work(partial(target.parent.mkdir, parents=True, exist_ok=True))
    yield from _receive(file, fresh, meter)
    if file.sha256 and (yield from work(partial(sha256, fresh))) != file.sha256:
        fresh.unlink()
        raise Damaged("error.damaged", path=file.path)
    yield from work(partial(_put, file, fresh, target))
    meter.add(files=1)
    return target


def part_name(path: str) -> str:
    """Return the name of a file that is still coming; the next attempt finds it again."""
    return f".kqi-{hashlib.sha256(path.encode()).hexdigest()[:16]}.part"


def _put(file: Remote, fresh: Path, target: Path) -> None:
    if file.changed_ns is not None:
        os.utime(fresh, ns=(file.changed_ns, file.changed_ns))
    _note(fresh).unlink(missing_ok=True)
    os.replace(fresh, target)


def _note(fresh: Path) -> Path:
    """Return where it is noted of which version the pieces are, where no hash says it beforehand."""
    return fresh.with_suffix(".version")


def _noted(fresh: Path) -> str:
    try:
        return _note(fresh).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _receive(file: Remote, fresh: Path, meter: Meter) -> Steps[None]:
    tag = f'"{file.sha256}"' if file.sha256 else (yield from work(partial(_noted, fresh)))
    with fresh.open("ab" if tag else "wb") as out:
        meter.add(size=out.tell())
        cuts = 0
        while True:
            before = out.tell()
            opened = yield from _open(file, out, tag)
            if opened.answer.status != 206 and before:
                out.truncate(0)
                out.seek(0)
                meter.add(size=-before)
            tag = opened.answer.headers.get("etag", "")
            start = out.tell()
            if not file.sha256 and not start:
                yield from work(partial(_note(fresh).write_text, tag, encoding="utf-8"))
            try:
                yield from _copy(opened, out, meter)
                return
            except ConnectionFailed:
                cuts = 1 if out.tell() > start else cuts + 1
                if cuts > CUTS:
                    raise
            yield Pause(PAUSE_S)


def _open(file: Remote, out: BinaryIO, tag: str) -> Steps[Opened]:
    headers = {"Accept-Encoding": "identity"}
    have = out.tell()
    if have and tag and not tag.startswith("W/"):
        ranged = {**headers, "Range": f"bytes={have}-", "If-Range": tag}
        try:
            return (
                yield from open_body(HttpRequest(method="GET", path=file.url, query=dict(file.query), headers=ranged))
            )
        except ApiError as problem:
            if problem.status != 416:
                raise
    return (yield from open_body(HttpRequest(method="GET", path=file.url, query=dict(file.query), headers=headers)))


def _copy(opened: Opened, out: BinaryIO, meter: Meter) -> Steps[None]:
    while piece := (yield Read(opened)):
        yield from work(partial(out.write, piece))
        meter.add(size=len(piece))


def is_there(file: Remote, target: Path) -> bool:
    """Tell whether the target holds the file already, by its hash, else by its size and the time of its last change."""
    if not target.is_file() or target.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256(target) == file.sha256
    return file.changed_ns is not None and abs(target.stat().st_mtime_ns - file.changed_ns) < _SAME_TIME_NS
