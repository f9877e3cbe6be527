"""What every engine owes to the hub, asked of a real cluster: of the tests' own, or of one that somebody lends."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.harness.lent import Lent
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.test_contract import *  # noqa: F403


@pytest.fixture(params=[pytest.param(None, id="work"), pytest.param(8888, id="server")])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with kubernetes.engine(Lent.of_environment() or request.getfixturevalue("cluster")) as made:
        made.port = request.param  # servers are pods, all else are Jobs
        yield made
