"""The images under test, built when the first test asks for one."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from images.make import Plan, build
from images.rootfs import CannotBuild

_TAG = "test"
Reference = Callable[[str], str]


def _missing() -> str:
    if os.geteuid() != 0:
        return "containers of the tests need root"
    lacking = [name for name in ("buildah", "mmdebstrap", "runc") if shutil.which(name) is None]
    return f"needed to build images: apt-get install {' '.join(lacking)}" if lacking else ""


@pytest.fixture(scope="session")
def image() -> Reference:
    """Return the reference of an image of this checkout, by its name."""
    missing = _missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    made: dict[str, str] = {}

    def reference(name: str) -> str:
        if name not in made:
            try:
                made.update({one.name: one.reference for one in build(Plan(names=(name,), tag=_TAG))})
            except CannotBuild as error:
                pytest.fail(str(error))
        return made[name]

    return reference


@pytest.fixture
def free_port() -> int:
    """Return the first of two ports of the loopback address that nobody uses."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for an image waits until it is built."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800))
