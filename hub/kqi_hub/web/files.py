"""Answers that carry files: ranges, streams, and folders packed as a zip while they are sent."""

import asyncio
import os
import re
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Response
from fastapi.requests import Request
from starlette.responses import StreamingResponse

from kqi_hub.errors import Invalid

_CHUNK = 2**18
# Clocks of file systems are coarse: a file younger than this may change once more without getting another time.
_SETTLED_NS = 2 * 10**9
# The quickest level: a zip is made while somebody waits. What it makes less than a twentieth smaller is stored.
_LEVEL, _WORTH_IT = 1, 0.95
# What a person's files may do in our own origin: nothing.
SANDBOX = {"Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An open file to answer with; `etag` None where the content may change without a sign of it."""

    file: BinaryIO
    name: str
    media_type: str
    etag: str | None = None
    inline: bool = False


def version(file: BinaryIO) -> str | None:
    """Return an ETag of a file that programs may write to; None while it was written to just now."""
    info = os.fstat(file.fileno())
    if time.time_ns() - info.st_ctime_ns < _SETTLED_NS:
        return None
    return f"{info.st_ino:x}-{info.st_size:x}-{info.st_ctime_ns:x}"


def respond(request: Request, content: Content) -> Response:
    """Answer with the file or the range of it that was asked for; closes the file."""
    size = os.fstat(content.file.fileno()).st_size
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(content.name, inline=content.inline),
        **SANDBOX,
    }
    if content.etag:
        headers["ETag"] = f'"{content.etag}"'
        if request.headers.get("if-none-match", "").strip() == headers["ETag"]:
            content.file.close()
            return Response(status_code=304, headers=headers)
    # A range of what it was before would be put to pieces of something else.
    same = request.headers.get("if-range", headers.get("ETag")) == headers.get("ETag")
    span = _span(request.headers.get("range", ""), size) if same else None
    if span is None:
        first, last, status = 0, size - 1, 200
    elif span[0] >= size or span[1] < span[0]:
        content.file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    else:
        first, last, status = span[0], span[1], 206
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    return StreamingResponse(
        _chunks(content.file, first, last + 1), status, headers=headers, media_type=content.media_type
    )


def disposition(name: str, *, inline: bool = False) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:200] or "file"
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def zipped(name: str, files: Iterable[tuple[str, Callable[[], BinaryIO]]]) -> Response:
    """Answer with a zip of (path, opener) pairs, made while it is sent; nothing is compressed twice or kept on disk."""
    headers = {"Content-Disposition": disposition(name), **SANDBOX}
    return StreamingResponse(_in_threads(_zip(files)), headers=headers, media_type="application/zip")


def pack(target: BinaryIO, files: Iterable[tuple[str, Callable[[], BinaryIO]]]) -> None:
    """Write a zip of (path, opener) pairs to a file. Blocks."""
    for chunk in _zip(files):
        target.write(chunk)


class _Pipe:
    """A write-only stream whose content is taken away as it comes."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def write(self, chunk: bytes) -> int:
        self._chunks.append(bytes(chunk))
        self._size += len(chunk)
        return len(chunk)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = b"".join(self._chunks)
        self._chunks.clear()
        return taken


def _zip(files: Iterable[tuple[str, Callable[[], BinaryIO]]]) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", compresslevel=_LEVEL) as archive:  # type: ignore[call-overload]
        for path, open_it in files:
            with open_it() as source:
                chunk = source.read(_CHUNK)
                archive.compression = _way(chunk)  # of entries that are opened from now on
                with archive.open(path, "w", force_zip64=True) as entry:
                    while chunk:
                        entry.write(chunk)
                        if found := pipe.take():
                            yield found
                        chunk = source.read(_CHUNK)
    yield pipe.take()


def _way(beginning: bytes) -> int:
    """Return how a file is packed that begins like this: pictures, archives and the like do not get any smaller."""
    smaller = len(zlib.compress(beginning, _LEVEL)) < _WORTH_IT * len(beginning)
    return zipfile.ZIP_DEFLATED if smaller else zipfile.ZIP_STORED


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        chunk = await asyncio.to_thread(next, chunks, None)
        if chunk is None:
            return
        yield chunk


async def _chunks(file: BinaryIO, first: int, end: int) -> AsyncIterator[bytes]:
    try:
        file.seek(first)
        left = end - first
        while left > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk
    finally:
        file.close()


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of a single range, None to answer with all. Raises Invalid for nonsense numbers."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if found is None or header.strip() == "bytes=-":
        return None
    start, end = found.groups()
    if not start:
        return max(0, size - int(end)), size - 1
    if end and int(end) < int(start):
        raise Invalid("range_not_valid")
    return int(start), min(int(end), size - 1) if end else size - 1
