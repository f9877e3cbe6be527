"""A cluster for all tests of a session, made when the first one asks for it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cluster.harness import build
from tests.cluster.harness.cluster import Cluster


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before any test: minutes on a machine that never did, which are no test's."""
    asked = any({"cluster", "engine"} & {*getattr(item, "fixturenames", ())} for item in session.items)
    if asked and not session.config.option.collectonly and not _missing():
        with suppress(build.CannotBuild):  # the fixture says so
            build.binaries()


def _missing() -> str:
    if os.geteuid() != 0:
        return "a cluster of the tests' own needs root"
    if shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin") is None:
        return "Go 1.26 or newer builds the cluster of the tests: install it from go.dev"
    return ""


SLICE = "nvidia.com/mig-1g.10gb"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two real nodes with four made-up cards each, and a slice of one."""
    missing = _missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with Cluster(nodes=2, gpus={"nvidia.com/gpu": 4, SLICE: 1}) as found:
        yield found
