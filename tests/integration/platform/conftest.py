"""One platform for the tests that only look at it."""

from collections.abc import Iterator

import pytest

from tests.platform import Platform


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with Platform(KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="1000") as found:
        for name in ("alice", "bob"):
            found.add_user(name)
        yield found
