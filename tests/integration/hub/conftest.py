"""One platform with a real hub, proxy, api and JupyterLab environment for all tests of the hub."""

from collections.abc import Iterator

import pytest

from tests.platform import Platform


@pytest.fixture(scope="session")
def hub_platform() -> Iterator[Platform]:
    with Platform(KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="1000") as found:
        for name in ("alice", "bob", "carol", "dave", "erin", "frank"):
            found.add_user(name)
        yield found
