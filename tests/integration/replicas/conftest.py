"""Two api processes on one database and one store."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import database
from tests.database import ON_POSTGRES
from tests.integration.api.caller import Caller
from tests.integration.api.serving import new_state
from tests.replica import Replica

_numbers = itertools.count(1)
POSTGRES_ONLY = pytest.mark.skipif(not ON_POSTGRES, reason="of PostgreSQL alone: make test-postgres")


@pytest.fixture
def state() -> Iterator[Path]:
    with new_state() as folder:
        yield folder


@pytest.fixture
def section() -> dict[str, Any]:
    return database.fresh()


@pytest.fixture
def two(state: Path, section: dict[str, Any]) -> Iterator[tuple[Replica, Replica]]:
    first = Replica(state, section)
    with first, Replica(state, section) as second:
        yield first, second


def person(url: str, token: str) -> Caller:
    """Return a person at one replica, by a token that counts at all."""
    headers = {"Authorization": f"Bearer {token}"}
    return Caller(httpx.AsyncClient(base_url=f"{url}/services/kqi/api/v1", headers=headers, timeout=90), "alice", "t")
