"""Uploads and downloads, over a connection that fails."""

import os
import random
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kqi
from kqi.client.data import DataGroup
from kqi.client.downloading import CUTS
from kqi.client.errors import BadFile, ConnectionFailed, Damaged
from kqi.schema import BATCH_FILES, PART_SIZE, SMALL_FILE, CreateData

from .conftest import Shell
from .instant import InstantDriver
from .stub import Fault, Stub

BODY = CreateData(name="test")
SHARED = Stub()  # making its routes takes longer than an example of a property test
DRIVER = InstantDriver(SHARED)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def losing(losses: Sequence[str | int | None]) -> InstantDriver:
    return DRIVER.losing(iter(losses))


def folder_with(place: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def held(stub: Stub, data_id: int) -> dict[str, bytes]:
    return {path: stub.blobs[digest] for path, digest in stub.files[data_id].items()}


def test_what_is_sent_comes_back(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    files = {"a.txt": b"a", "sub/空.bin": b"", "sub/大.bin": noise(2 * PART_SIZE + 7), "b/c/d": noise(5000)}
    made = client.data.upload([folder_with(tmp_path / "in", files)], BODY)
    assert held(stub, made.id) == files
    places = client.data.download(made.id, tmp_path / "out")
    assert {place.relative_to(tmp_path / "out").as_posix(): place.read_bytes() for place in places} == files
    assert not list((tmp_path / "out").rglob("*.part"))


async def test_the_same_on_an_event_loop(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    files = {"a.txt": b"a", "大.bin": noise(PART_SIZE + 7)} | {f"s/{n}": str(n).encode() for n in range(100)}
    async with kqi.AsyncClient(stub.url, token=client.settings.token.reveal()) as other:  # type: ignore[union-attr]
        made = await other.data.upload([folder_with(tmp_path / "in", files)], BODY)
        places = await other.data.download(made.id, tmp_path / "out")
        assert [item.id async for item in other.data.list()] == [made.id]
    assert {place.relative_to(tmp_path / "out").as_posix(): place.read_bytes() for place in places} == files


def test_many_small_files_take_few_requests_both_ways(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    files = {f"{number % 7}/{number}": noise(100, number) for number in range(3000)}
    made = client.data.upload([folder_with(tmp_path / "in", files)], BODY)
    assert held(stub, made.id) == files
    assert stub.count("POST", "/uploads/batch") == 3
    sent = len(stub.requests)
    client.data.download(made.id, tmp_path / "out")
    assert len(stub.requests) - sent < 15
    assert all((tmp_path / "out" / name).read_bytes() == content for name, content in files.items())


def test_more_files_than_a_request_may_name_are_all_there(stub: Stub, tmp_path: Path) -> None:
    files = {str(number): b"" for number in range(BATCH_FILES + 5)}
    made = DataGroup(InstantDriver(stub), None).upload([folder_with(tmp_path, files)], BODY)
    assert made.files == len(files) and held(stub, made.id) == files


def test_what_the_store_has_is_not_sent_again(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    place = folder_with(tmp_path / "in", {"a": b"same", "b": b"same", "big": noise(PART_SIZE + 1)})
    client.data.upload([place], BODY)
    before = stub.count("POST", "/uploads.*")
    again = client.data.upload([place], BODY)
    assert stub.count("POST", "/uploads.*") == before
    assert held(stub, again.id)["b"] == b"same"


def kill_at(fault: Fault, stub: Stub, shell: Shell, place: str) -> None:
    """Kill an upload while its server holds back an answer."""
    stub.faults.append(fault)
    process = shell.start("data", "upload", place)
    assert fault.held.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    fault.released.set()


@pytest.mark.skipif(os.name == "nt", reason="a kill without warning is tested where there is one")
def test_a_kill_between_two_requests_for_one_data_leaves_none(stub: Stub, shell: Shell) -> None:
    files = {str(number): b"" for number in range(BATCH_FILES + 5)}
    folder_with(shell.folder / "many", files)
    kill_at(Fault("POST", "/data/.*/files", "hold"), stub, shell, "many")
    assert shell("data", "list", "--json").json == []
    made = shell("data", "upload", "many", "--json")
    assert made.code == 0, made.err
    (seen,) = shell("data", "list", "--json").json
    assert (seen["id"], seen["files"]) == (made.json["id"], len(files))


FILES = {"big": noise(2 * PART_SIZE + 1, 1), "other": noise(SMALL_FILE + 1, 2), "small": b"s"}


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["request", "answer", None, None]), max_size=40))
def test_an_upload_that_loses_any_requests_ends_whole_or_is_completed_by_the_next(losses: list[str | None]) -> None:
    stub = SHARED.fresh()
    with tempfile.TemporaryDirectory() as temporary:
        place = folder_with(Path(temporary), FILES)
        try:
            made = DataGroup(losing(losses), None).upload([place], BODY)
        except ConnectionFailed:
            there = {(u["sha256"], n) for u in stub.uploads.values() for n in u["parts"]}
            driver = losing([])
            made = DataGroup(driver, None).upload([place], BODY)
            sent = {
                (stub.uploads[r.path.split("/")[2]]["sha256"], int(r.path.split("/")[-1]))
                for r in driver.requests
                if r.method == "PUT"
            }
            assert not there & sent
    assert held(stub, made.id) == FILES
    assert len(stub.data) == 1


@pytest.mark.skipif(os.name == "nt", reason="a kill without warning is tested where there is one")
def test_a_killed_upload_goes_on_where_it_was(stub: Stub, shell: Shell) -> None:
    folder_with(shell.folder, {"big.bin": noise(6 * PART_SIZE + 5)})
    kill_at(Fault("PUT", "/uploads/.*/parts/5", "hold"), stub, shell, "big.bin")
    before = stub.count("PUT", "/uploads/.*")
    ended = shell("data", "upload", "big.bin", "--json")
    assert ended.code == 0, ended.err
    # Part 5 was begun when at least two of the four sent together had arrived.
    assert 1 <= stub.count("PUT", "/uploads/.*") - before <= 5
    assert held(stub, ended.json["id"])["big.bin"] == (shell.folder / "big.bin").read_bytes()


@settings(max_examples=60)
@given(st.lists(st.one_of(st.integers(0, 9000), st.sampled_from(["request", None])), max_size=12))
def test_a_download_that_is_cut_anywhere_is_right_or_is_completed_by_the_next(losses: list[int | str | None]) -> None:
    SHARED.fresh()
    content = noise(8_500)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder_with(Path(temporary) / "in", {"f": content})
        made = DataGroup(losing([]), None).upload([place], BODY)
        out = Path(temporary) / "out"
        try:
            DataGroup(losing([None, *losses]), None).download(made.id, out)
        except ConnectionFailed:
            assert not (out / "f").exists()
            driver = losing([])
            DataGroup(driver, None).download(made.id, out)
        assert (out / "f").read_bytes() == content
        assert [entry.name for entry in out.iterdir()] == ["f"]


def test_a_cut_download_asks_only_for_the_rest(stub: Stub, tmp_path: Path) -> None:
    made = DataGroup(InstantDriver(stub), None).upload([folder_with(tmp_path / "in", {"f": noise(8000)})], BODY)
    driver = InstantDriver(stub, iter([None, 3000, 4000]))
    DataGroup(driver, None).download(made.id, tmp_path / "out")
    assert [r.headers.get("Range") for r in driver.requests[1:]] == [None, "bytes=3000-", "bytes=7000-"]


def test_a_connection_that_brings_nothing_is_given_up(stub: Stub, tmp_path: Path) -> None:
    made = DataGroup(InstantDriver(stub), None).upload([folder_with(tmp_path / "in", {"f": noise(8000)})], BODY)
    driver = InstantDriver(stub, iter([None, *[0] * 100]))
    with pytest.raises(ConnectionFailed):
        DataGroup(driver, None).download(made.id, tmp_path / "out")
    assert len(driver.requests) == 2 + CUTS


def test_damaged_bytes_are_not_kept(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    made = client.data.upload([folder_with(tmp_path / "in", {"f": b"right"})], BODY)
    stub.blobs[stub.files[made.id]["f"]] = b"wrong"
    with pytest.raises(Damaged):
        client.data.download(made.id, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_file_in_the_zip_is_asked_for_alone(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    files = {str(number): noise(100, number) for number in range(100)}
    made = client.data.upload([folder_with(tmp_path / "in", files)], BODY)
    digest = stub.files[made.id]["7"]
    stub.blobs[digest] = b"wrong"
    with pytest.raises(Damaged, match="7"):
        client.data.download(made.id, tmp_path / "out")
    assert stub.count("GET", "/data/1/content/.*") == 1
    stub.blobs[digest] = files["7"]
    client.data.download(made.id, tmp_path / "out")
    assert (tmp_path / "out" / "7").read_bytes() == files["7"]


def test_a_zip_that_breaks_off_costs_no_file(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    files = {str(number): noise(100, number) for number in range(70)}
    made = client.data.upload([folder_with(tmp_path / "in", files)], BODY)
    stub.faults.append(Fault("GET", ".*archive.zip", "cut", after=2000))
    client.data.download(made.id, tmp_path / "out")
    assert {entry.name: entry.read_bytes() for entry in (tmp_path / "out").iterdir()} == files


def test_files_that_are_there_are_not_brought_again(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    made = client.data.upload([folder_with(tmp_path / "in", {"a": b"a", "b": b"b"})], BODY)
    client.data.download(made.id, tmp_path / "out")
    (tmp_path / "out" / "b").write_bytes(b"B")
    before = stub.count("GET", ".*content.*")
    client.data.download(made.id, tmp_path / "out")
    assert stub.count("GET", ".*content.*") - before == 1
    assert (tmp_path / "out" / "b").read_bytes() == b"b"


def test_a_server_cannot_write_outside_the_folder(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    made = client.data.upload([folder_with(tmp_path / "in", {"a": b"a"})], BODY)
    stub.files[made.id]["../evil"] = stub.files[made.id]["a"]
    with pytest.raises(BadFile):
        client.data.download(made.id, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_progress_counts_every_byte_once(client: kqi.Client, tmp_path: Path) -> None:
    place = folder_with(tmp_path / "in", {"a": b"a", "twin": b"a", "big": noise(PART_SIZE + 9)})
    seen: list[kqi.Progress] = []
    made = client.data.upload([place], BODY, seen.append)
    assert (seen[-1].files, seen[-1].bytes) == (3, PART_SIZE + 11) == (seen[-1].files_total, seen[-1].bytes_total)
    assert [p.bytes for p in seen] == sorted(p.bytes for p in seen)
    client.data.download(made.id, tmp_path / "out", report=seen.append)
    assert (seen[-1].files, seen[-1].bytes) == (3, PART_SIZE + 11)
