"""Send files to the store: what it has already is not sent, small ones go in batches, large ones in parts.

Nothing is remembered here. A transfer that was cut, even by a killed process, goes on when it is simply begun again.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from kqi.client.errors import BadFile
from kqi.client.exchange import ask, parse, send
from kqi.client.local_files import (
    LocalFile,
    Taking,
    hashes,
    plan,
    read_part,
    scan,
    sha256,
    tar,
)
from kqi.client.progress import Meter, Report
from kqi.client.steps import HttpRequest, Steps, together, work
from kqi.schema import BATCH_FILES, PART_SIZE, Blobs, FindBlobs, NewFile, StartUpload, Stored, Upload

HASHING = os.cpu_count() or 2
BATCHES = 3
LARGE_FILES = 2
PARTS = 4
MOST_PARTS = 8_000  # beyond it parts grow: an upload of a terabyte is not a list of a hundred thousand numbers


def upload(
    paths: Iterable[str | os.PathLike[str]],
    tenant: str | None,
    report: Report | None = None,
    taking: Taking | None = None,
) -> Steps[list[NewFile]]:
    """Send files and folders and return how each is called there. Raises BadFile for what cannot be sent."""
    files = yield from work(partial(scan, list(paths), taking))
    return (yield from send_files(files, tenant, report))


def send_files(files: Sequence[LocalFile], tenant: str | None, report: Report | None = None) -> Steps[list[NewFile]]:
    meter = Meter(len(files), sum(file.size for file in files), report)
    divided = plan(files)
    sent: set[str] = set()
    found = yield from together((_send_small(batch, sent, tenant, meter) for batch in divided.batches), BATCHES)
    known = dict(zip(chain.from_iterable(divided.batches), chain.from_iterable(found), strict=True))
    hashed = yield from together((work(partial(sha256, file.place)) for file in divided.large), HASHING)
    large = dict(zip(divided.large, hashed, strict=True))
    missing = yield from _missing_files(large, sent, tenant, meter)
    yield from together((_send_large(file, large[file], tenant, meter) for file in missing), LARGE_FILES)
    known |= large
    return [NewFile(path=file.path, sha256=known[file]) for file in files]


def part_size(size: int) -> int:
    """Return the size of a part; always the same for a file, so that a later attempt finds the parts of this one."""
    part = PART_SIZE
    while size > part * MOST_PARTS:
        part *= 2
    return part


def _already_there(digests: Sequence[str], tenant: str | None) -> Steps[set[str]]:
    there: set[str] = set()
    for start in range(0, len(digests), BATCH_FILES):
        asked = FindBlobs(sha256=list(digests[start : start + BATCH_FILES]))
        found = yield from ask(Blobs, "/blobs/find", asked, {"tenant": tenant})
        there.update(found.sha256)
    return there


def _missing_files(
    known: dict[LocalFile, str], sent: set[str], tenant: str | None, meter: Meter
) -> Steps[list[LocalFile]]:
    """Return those that the store lacks, each content once over all calls with the same `sent`."""
    there = yield from _already_there(sorted(set(known.values())), tenant)
    missing = []
    for file, digest in known.items():
        if digest in there or digest in sent:
            meter.add(files=1, size=file.size)
        else:
            sent.add(digest)
            missing.append(file)
    return missing


def _send_small(batch: Sequence[LocalFile], sent: set[str], tenant: str | None, meter: Meter) -> Steps[list[str]]:
    """Send of a batch what is not there, and return the hashes of all; while one is read others are stored."""
    digests = yield from work(partial(hashes, batch))
    known = dict(zip(batch, digests, strict=True))
    missing = yield from _missing_files(known, sent, tenant, meter)
    if missing:
        yield from _send_batch(missing, known, tenant, meter)
    return digests


def _send_batch(
    batch: Sequence[LocalFile], known: dict[LocalFile, str], tenant: str | None, meter: Meter
) -> Steps[None]:
    content = yield from work(partial(tar, batch))
    answer = yield from send(
        HttpRequest(
            method="POST",
            path="/uploads/batch",
            query={"tenant": tenant},
            content=content,
            headers={"Content-Type": "application/x-tar"},
            silence_s=300,
        )
    )
    stored = {file.path: file.sha256 for file in parse(Stored, answer).files}
    for number, file in enumerate(batch):
        if stored.get(str(number)) != known[file]:
            raise BadFile("error.file_changed", path=file.place)
    meter.add(files=len(batch), size=sum(file.size for file in batch))


def _send_large(file: LocalFile, digest: str, tenant: str | None, meter: Meter) -> Steps[None]:
    asked = StartUpload(size=file.size, sha256=digest, part_size=part_size(file.size))
    started = yield from ask(Upload, "/uploads", asked, {"tenant": tenant})
    if not started.complete:
        missing = list(_missing(started))
        meter.add(size=file.size - sum(size for _, _, size in missing))
        yield from together((_send_part(started.id, file, part, meter) for part in missing), PARTS)
        yield from send(HttpRequest(method="POST", path=f"/uploads/{started.id}/complete", silence_s=600))
        meter.add(files=1)
    else:
        meter.add(files=1, size=file.size)


def _missing(upload: Upload) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and size of each part that is not there yet."""
    there = set(upload.parts)
    for number, start in enumerate(range(0, upload.size, upload.part_size)):
        if number not in there:
            yield number, start, min(upload.part_size, upload.size - start)


def _send_part(upload_id: str, file: LocalFile, part: tuple[int, int, int], meter: Meter) -> Steps[None]:
    number, start, size = part
    content = yield from work(partial(read_part, file, start, size))
    digest = yield from work(lambda: hashlib.sha256(content).hexdigest())
    yield from send(
        HttpRequest(
            method="PUT",
            path=f"/uploads/{upload_id}/parts/{number}",
            content=content,
            headers={"Content-Type": "application/octet-stream", "X-Part-Sha256": digest},
            silence_s=300,
        )
    )
    meter.add(size=size)
