"""What every engine owes to the hub, asked of a real cluster."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.test_contract import *  # noqa: F403


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    async with kubernetes.engine(cluster) as made:
        yield made
