"""Runs: following, waiting, outputs, attachments."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kqi
from kqi.client.errors import BadFile, Conflict, ConnectionFailed, NotFound
from kqi.client.runs import TrainingGroup
from kqi.schema import CopyTraining, CreateNotebook, CreateTraining, Phase, StopMode

from .instant import InstantDriver
from .stub import TOKEN, Fault, Stub
from .stub_state import NOW

HOLD = CreateTraining(title="held", command="hold")


def test_a_log_is_followed_to_its_end(client: kqi.Client, stub: Stub) -> None:
    run = client.trainings.create(HOLD)
    pieces = client.trainings.follow(run.id)
    stub.write(run.id, b"one\n")
    assert next(pieces) == b"one\n"
    stub.finish(run.id, log=b"two\n")
    assert b"".join(pieces) == b"two\n"
    assert client.trainings.wait(run.id).phase is Phase.COMPLETED


@pytest.mark.parametrize("after", [0, 1, 7, 9, 16])
def test_each_byte_of_a_log_comes_once_over_cuts(client: kqi.Client, stub: Stub, after: int) -> None:
    run = client.trainings.create(CreateTraining(title="a", command="print"))
    stub.faults += [Fault("GET", ".*/log", "cut", after=after), Fault("GET", ".*/log", "refuse", times=3)]
    assert b"".join(client.trainings.follow(run.id)) == stub.logs[run.id]


async def test_a_log_is_followed_on_an_event_loop(stub: Stub) -> None:
    async with kqi.AsyncClient(stub.url, token=TOKEN) as client:
        run = await client.trainings.create(CreateTraining(title="a", command="print"))
        assert b"".join([piece async for piece in client.trainings.follow(run.id)]) == stub.logs[run.id]
        assert (await client.trainings.wait(run.id)).exit_code == 0


def test_waiting_outlives_a_server_that_is_away(client: kqi.Client, stub: Stub) -> None:
    run = client.trainings.create(HOLD)
    stub.faults.append(Fault("GET", f"/trainings/{run.id}", "refuse", times=8, skip=1))
    stub.finish(run.id, Phase.FAILED)
    assert client.trainings.wait(run.id).phase is Phase.FAILED


def test_outputs_come_with_their_folders(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    run = client.trainings.create(CreateTraining(title="a", command="print"))
    assert [(entry.name, entry.folder) for entry in client.trainings.outputs(run.id)] == [
        ("model.bin", False),
        ("sub", True),
    ]
    places = client.trainings.download(run.id, tmp_path)
    found = {place.relative_to(tmp_path).as_posix(): place.read_bytes() for place in places}
    assert found == stub.outputs[run.id]
    assert client.trainings.archive(run.id, tmp_path / "all.zip").read_bytes()[:2] == b"PK"


def driven(stub: Stub, losses: Sequence[str | int | None]) -> tuple[TrainingGroup[Any], InstantDriver]:
    driver = InstantDriver(stub, iter(losses))
    return TrainingGroup(driver, None), driver


def asked(driver: InstantDriver) -> list[str | None]:
    """Return the ranges of the contents that were asked for."""
    return [request.headers.get("Range") for request in driver.requests if "/content/" in request.path]


def made(stub: Stub, content: bytes) -> int:
    run = TrainingGroup(InstantDriver(stub), None).create(CreateTraining(title="a", command="print"))
    stub.outputs[run.id] = {"f": content}
    return run.id


def test_outputs_that_are_there_are_not_brought_again(stub: Stub, tmp_path: Path) -> None:
    run = made(stub, b"first")
    driven(stub, [])[0].download(run, tmp_path)
    trainings, driver = driven(stub, [])
    trainings.download(run, tmp_path)
    assert asked(driver) == []
    stub.outputs[run]["f"], stub.written[run, "f"] = b"other", NOW + timedelta(seconds=1)
    trainings.download(run, tmp_path)
    assert asked(driver) == [None] and (tmp_path / "f").read_bytes() == b"other"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_an_output_that_was_cut_goes_on_in_the_next_process(stub: Stub, tmp_path: Path) -> None:
    run = made(stub, bytes(range(256)) * 32)
    with pytest.raises(ConnectionFailed):
        driven(stub, [None, 3000, *[0] * 100])[0].download(run, tmp_path)
    assert not (tmp_path / "f").exists()
    trainings, driver = driven(stub, [])
    trainings.download(run, tmp_path)
    assert asked(driver) == ["bytes=3000-"] and (tmp_path / "f").read_bytes() == stub.outputs[run]["f"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_pieces_of_an_output_that_has_changed_are_let_go(stub: Stub, tmp_path: Path) -> None:
    run = made(stub, b"first" * 1000)
    with pytest.raises(ConnectionFailed):
        driven(stub, [None, 3000, *[0] * 100])[0].download(run, tmp_path)
    stub.outputs[run]["f"] = b"other" * 1000
    driven(stub, [])[0].download(run, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"other" * 1000


def test_an_attachment_goes_and_comes(client: kqi.Client, tmp_path: Path) -> None:
    run = client.trainings.create(CreateTraining(title="a", command="print"))
    (tmp_path / "メモ.txt").write_bytes(b"note")
    client.trainings.attach(run.id, tmp_path / "メモ.txt")
    (held,) = client.trainings.attachments(run.id)
    assert (held.name, held.size) == ("メモ.txt", 4)
    assert client.trainings.attachment(run.id, "メモ.txt", tmp_path / "back").read_bytes() == b"note"
    client.trainings.detach(run.id, "メモ.txt")
    assert list(client.trainings.attachments(run.id)) == []


async def test_a_large_attachment_is_read_while_it_is_sent(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 * 2**20 + 5))
    async with kqi.AsyncClient(stub.url, token=TOKEN) as client:
        run = await client.trainings.create(CreateTraining(title="a", command="print"))
        await client.trainings.attach(run.id, tmp_path / "large", "named")
        assert [(held.name, held.size) async for held in client.trainings.attachments(run.id)] == [
            ("named", 3 * 2**20 + 5)
        ]
        with pytest.raises(BadFile):
            await client.trainings.attach(run.id, tmp_path)


def test_the_same_code_is_sent_once(client: kqi.Client, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    first = client.trainings.send_code(tmp_path)
    assert client.trainings.send_code(tmp_path) == first
    assert stub.count("POST", "/uploads.*") == 1
    run = client.trainings.create(CreateTraining(title="a", command="print", source=first))
    assert run.source and run.source.kind == "archive"


def test_a_copy_changes_what_is_given(client: kqi.Client) -> None:
    run = client.trainings.create(CreateTraining(title="a", command="exit 3", environment={"A": "1"}))
    again = client.trainings.copy(run.id, CopyTraining(command="exit 0"))
    assert (run.exit_code, again.exit_code, again.environment) == (3, 0, {"A": "1"})


def test_a_notebook_stops_and_starts_again(client: kqi.Client) -> None:
    run = client.notebooks.create(CreateNotebook(title="n"))
    assert client.notebooks.wait_open(run.id).url
    assert client.notebooks.stop(run.id, StopMode.KILL).phase is Phase.KILLED
    assert client.notebooks.start(run.id).phase is Phase.RUNNING
    with pytest.raises(Conflict):
        client.notebooks.delete(run.id)


def test_a_long_list_comes_page_by_page(client: kqi.Client, stub: Stub) -> None:
    made = [client.trainings.create(CreateTraining(title=str(n), command="exit 0")).id for n in range(7)]
    assert [run.id for run in client.trainings.list()] == made[::-1]
    assert [run.id for run in client.trainings.list(limit=3)] == made[:3:-1]
    assert [run.title for run in client.trainings.list(kqi.RunFilter(q="5"))] == ["5"]


def test_what_is_not_there_is_said(client: kqi.Client) -> None:
    with pytest.raises(NotFound):
        client.trainings.get(99)
