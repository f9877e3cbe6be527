"""Large files in parts: however they come, the content is in the store whole or not at all."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi_hub.data.store import UploadRow
from kqi_hub.data.uploads import Uploads
from kqi_hub.errors import Conflict, Invalid, KqiError, NotFound
from kqi_hub.storage import partial
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from tests.integration.api.caller import packed, sha256


@dataclass(frozen=True)
class Sent:
    """A part on its way: `content` is what comes, `promise` what it was said to be."""

    number: int
    content: bytes
    promise: str
    chunk: int

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.content), self.chunk):
            yield self.content[start : start + self.chunk]


@dataclass(frozen=True)
class Upload:
    content: bytes
    part_size: int

    @property
    def count(self) -> int:
        return -(-len(self.content) // self.part_size)

    def part(self, number: int) -> bytes:
        return self.content[number * self.part_size : (number + 1) * self.part_size]

    def row(self) -> UploadRow:
        row = UploadRow(id="upload", sha256=sha256(self.content), size=len(self.content), part_size=self.part_size)
        row.complete = False
        return row


@contextmanager
def uploads() -> Iterator[Uploads]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        store = Store(Path(folder))
        store.prepare()
        yield Uploads(Blobs(store))


files = st.builds(Upload, st.binary(min_size=1, max_size=40), st.integers(3, 16))


@st.composite
def sent(draw: st.DrawFn, upload: Upload) -> Sent:
    number = draw(st.integers(0, upload.count - 1))
    right = upload.part(number)
    content = draw(
        st.sampled_from([right, right, right, right[:-1], b"", right + b"x", bytes(len(right)), upload.content])
    )
    promise = draw(st.sampled_from([sha256(content), sha256(content), sha256(right), sha256(b"other")]))
    return Sent(number, content, promise, draw(st.integers(1, 9)))


def run(work: Coroutine[None, None, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(work)


@given(st.data(), files)
def test_parts_in_any_order_cut_wrong_or_repeated_make_the_file_or_nothing(data: st.DataObject, file: Upload) -> None:
    coming = data.draw(st.lists(sent(file), max_size=12))

    async def work(made: Uploads) -> None:
        row, last = file.row(), dict[int, Sent]()
        partial.create(made.blobs.incoming / row.id, row.size)
        received: set[int] = set()
        for part in coming:
            whole = len(part.content) == len(file.part(part.number)) and sha256(part.content) == part.promise
            try:
                await made.write(row, part.number, part.promise, part.chunks())
                assert whole
                received.add(part.number)
            except Invalid:
                assert not whole
            last[part.number] = part
        right = all(number in last and last[number].content == file.part(number) for number in range(file.count))
        try:
            await made.assemble(row, sorted(received))
            assert len(received) == file.count
        except Conflict as error:
            assert error.code == ("upload_wrong_hash" if len(received) == file.count else "upload_parts_missing")
            assert not (len(received) == file.count and right)
            assert not made.blobs.has(row.sha256)
            for number in range(file.count):
                good = file.part(number)
                await made.write(row, number, sha256(good), Sent(number, good, "", 7).chunks())
            await made.assemble(row, list(range(file.count)))
        with made.blobs.open(row.sha256) as blob:
            assert blob.read() == file.content
        await made.assemble(row, list(range(file.count)))  # again, as after a crash before the commit
        assert [entry.name for entry in made.blobs.incoming.iterdir()] == []

    with uploads() as made:
        run(work(made))


@given(st.data(), files)
def test_whatever_goes_on_at_the_same_time_a_blob_never_changes(data: st.DataObject, file: Upload) -> None:
    """Writers linger (a connection that broke, a person of bad will) while the file is completed."""
    lingering = data.draw(st.lists(sent(file), min_size=1, max_size=4))
    before = data.draw(st.lists(st.sampled_from(range(len(lingering))), max_size=6))
    during = data.draw(st.lists(st.sampled_from(range(len(lingering))), max_size=6))

    async def work(made: Uploads) -> None:
        row = file.row()
        partial.create(made.blobs.incoming / row.id, row.size)
        gates = [asyncio.Semaphore(0) for _ in lingering]

        async def slowly(part: Sent, gate: asyncio.Semaphore) -> AsyncIterator[bytes]:
            async for chunk in part.chunks():
                await gate.acquire()
                yield chunk

        writers = [
            asyncio.create_task(made.write(row, part.number, part.promise, slowly(part, gate)))
            for part, gate in zip(lingering, gates, strict=True)
        ]
        await let(gates, before)
        for number in range(file.count):
            good = file.part(number)
            await made.write(row, number, sha256(good), Sent(number, good, "", 7).chunks())
        completing = asyncio.create_task(made.assemble(row, list(range(file.count))))
        await let(gates, during)
        done = (await asyncio.gather(completing, return_exceptions=True))[0]
        for gate in gates:
            for _ in range(100):
                gate.release()
        ends = await asyncio.gather(*writers, return_exceptions=True)
        assert all(end is None or isinstance(end, KqiError) for end in ends), ends
        assert (done is None) == made.blobs.has(row.sha256)
        if done is None:
            with made.blobs.open(row.sha256) as blob:
                assert blob.read() == file.content
        else:
            assert isinstance(done, Conflict) and done.code == "upload_wrong_hash"

    async def let(gates: list[asyncio.Semaphore], order: list[int]) -> None:
        for writer in order:
            gates[writer].release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with uploads() as made:
        run(work(made))


async def test_a_part_that_is_still_on_its_way_cannot_change_what_was_completed() -> None:
    file = Upload(b"right content", 13)
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"right"
        await go_on.wait()
        yield b" CHANGED"

    with uploads() as made:
        row = file.row()
        partial.create(made.blobs.incoming / row.id, row.size)
        late = asyncio.create_task(made.write(row, 0, sha256(b"right CHANGED"), slowly()))
        await asyncio.sleep(0)
        await made.write(row, 0, row.sha256, Sent(0, file.content, "", 4).chunks())
        await made.assemble(row, [0])
        go_on.set()
        with pytest.raises((Conflict, NotFound)):
            await late
        with made.blobs.open(row.sha256) as blob:
            assert blob.read() == file.content


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), st.binary(max_size=9)), max_size=3), st.integers(0, 3000))
def test_a_batch_is_stored_whole_or_is_refused(batches: list[dict[str, bytes]], cut: int) -> None:
    async def work(made: Uploads) -> None:
        for number, files in enumerate(batches):
            tar = packed(files)
            short = cut if number == 1 and cut < len(tar) else None
            try:
                stored = await made.receive(Sent(0, tar[:short], "", 999).chunks(), files=5, size=40, check=str)
            except KqiError:
                assert short is not None or sum(map(len, files.values())) > 40
                continue
            assert {file.path: file.sha256 for file in stored}.items() <= {
                name: sha256(content) for name, content in files.items()
            }.items()
            assert short is not None or len(stored) == len(files)
        for blob in made.blobs.path("").parent.rglob("*"):
            if blob.is_file():
                assert sha256(blob.read_bytes()) == blob.name and not blob.stat().st_mode & 0o222
        assert list(made.blobs.incoming.iterdir()) == []

    with uploads() as made:
        run(work(made))


async def test_what_a_power_cut_left_of_a_small_file_is_not_taken_for_it() -> None:
    with uploads() as made:
        digest = sha256(b"content")
        made.blobs.path(digest).parent.mkdir()
        made.blobs.path(digest).touch()
        await made.receive(Sent(0, packed({"a": b"content"}), "", 999).chunks(), files=9, size=9, check=str)
        assert made.blobs.path(digest).read_bytes() == b"content"


def test_a_content_that_is_sent_while_it_is_removed_is_there_afterwards() -> None:
    """Both orders of every two steps come about in so many rounds."""
    content, digest = b"content", sha256(b"content")
    old, before = 1_000_000_000, datetime.fromtimestamp(1_500_000_000, UTC)
    tar = packed({"a": content})
    with uploads() as made, ThreadPoolExecutor(1) as threads:
        file = made.blobs.incoming / "batch"
        file.write_bytes(tar)
        for _ in range(1_000):
            sending = threads.submit(made.blobs.take_batch, file, files=1, size=9, check=str)
            made.blobs.remove(digest, before)
            sending.result()
            assert made.blobs.path(digest).read_bytes() == content
            os.utime(made.blobs.path(digest), (old, old))
        assert made.blobs.remove(digest, before) and not made.blobs.has(digest)
