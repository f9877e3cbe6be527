"""The two clients have the same operations, with the right types."""

import subprocess
import sys
from pathlib import Path

import kqi
from kqi.client.operation import Group, operation, stream

SNIPPET = """
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any
from typing_extensions import assert_type

import kqi
from kqi.schema import CreateData, CreateTraining, Data, Person, Run


def blocking(client: kqi.Client) -> None:
    assert_type(client.me(), Person)
    assert_type(client.data.upload(["a"], CreateData(name="a")), Data)
    assert_type(client.data.list(kqi.DataFilter(q="a")), Iterator[Data])
    assert_type(client.trainings.create(CreateTraining(command="a")), Run)
    assert_type(client.trainings.follow(1), Iterator[bytes])
    client.data.get("1")  # E: arg-type
    client.data.get(1, 2)  # E: call-arg


async def awaiting(client: kqi.AsyncClient) -> None:
    assert_type(await client.me(), Person)
    coroutine = client.data.upload(["a"], CreateData(name="a"))
    _ = assert_type(coroutine, Coroutine[Any, Any, Data])
    assert_type(client.data.list(kqi.DataFilter(q="a")), AsyncIterator[Data])
    assert_type(client.trainings.follow(1), AsyncIterator[bytes])
    client.me()  # E: unused-coroutine
"""


def test_both_clients_are_typed_for_what_they_are(tmp_path: Path) -> None:
    place = tmp_path / "snippet.py"
    place.write_text(SNIPPET, encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(place)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    wrong = [line.split(":")[1] for line in checked.stdout.splitlines() if "error:" in line]
    expected = [str(number) for number, line in enumerate(SNIPPET.splitlines(), 1) if "# E:" in line]
    assert wrong == expected, checked.stdout + checked.stderr


def test_every_operation_is_on_both_clients(tmp_path: Path) -> None:
    with kqi.Client("http://127.0.0.1:9", token="x") as blocking:
        awaiting = kqi.AsyncClient("http://127.0.0.1:9", token="x")
        assert operations(blocking) == operations(awaiting)
        assert len(operations(blocking)) > 60


def test_every_operation_says_what_it_is_called() -> None:
    assert kqi.Client.version.__doc__ == "Return the version of the server."


def operations(client: Group[kqi.Client]) -> set[str]:
    inner = {name: value for name, value in vars(client).items() if isinstance(value, Group)}
    here = {name for name in dir(type(client)) if isinstance(getattr(type(client), name), operation | stream)}
    return here | {f"{group}.{name}" for group, value in inner.items() for name in operations(value)}
