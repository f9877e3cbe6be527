"""A log that its own workload has replaced: nothing of anybody else's is read or written through it."""

import os
from pathlib import Path

import pytest

from kqi_spawner import logfile


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    place = tmp_path / "secret"
    place.write_text("canary")
    return place


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "attach" / "log"
    place.parent.mkdir()
    return place


def plant(how: str, log: Path, secret: Path) -> None:
    match how:
        case "link":
            log.symlink_to(secret)
        case "pipe":
            os.mkfifo(log)
        case "folder":
            log.mkdir()
        case "linked folder":
            log.parent.rmdir()
            log.parent.symlink_to(secret.parent)
            secret.rename(secret.with_name(log.name))


@pytest.mark.parametrize("how", ["link", "pipe", "folder", "linked folder"])
def test_what_was_planted_is_not_read(how: str, log: Path, secret: Path) -> None:
    plant(how, log, secret)
    assert logfile.read(log, 0) == b""


@pytest.mark.parametrize("how", ["link", "pipe", "folder"])
def test_what_was_planted_is_not_written_to_but_put_aside(how: str, log: Path, secret: Path) -> None:
    plant(how, log, secret)
    descriptor = logfile.create(log)
    os.write(descriptor, b"of the next attempt")
    os.close(descriptor)
    assert logfile.read(log, 3) == b"the next attempt"
    assert secret.read_text() == "canary" and len(list(log.parent.iterdir())) == 2


def test_a_log_is_gone_on_with(log: Path) -> None:
    assert logfile.read(log, 0) == b""
    for part in (b"one", b"two"):
        descriptor = logfile.create(log)
        os.write(descriptor, part)
        os.close(descriptor)
    assert logfile.read(log, 0) == b"onetwo"
