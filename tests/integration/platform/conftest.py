"""One platform for the tests that only look at it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import Platform


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with Platform(KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="1000") as found:
        for name in ("alice", "bob"):
            found.add_user(name)
        yield found


@pytest.fixture
def state_for_all() -> Iterator[Path]:
    """A folder that every account may enter, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-state-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
