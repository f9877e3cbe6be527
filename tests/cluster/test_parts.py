"""The platform in its parts on a real cluster, killed while many start: the drill of `make drills` in small."""

from pathlib import Path

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.drills import starts


@pytest.mark.timeout(600)
def test_what_starts_while_hub_and_api_are_killed_starts_once(cluster: Cluster, tmp_path: Path) -> None:
    with starts.platform(cluster, tmp_path, 4) as drill:
        drill.run(["prepared", "started"])
        drill.verify()
