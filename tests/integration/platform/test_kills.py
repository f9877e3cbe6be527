"""The short form of the drill of `tests/drills/kills.py`."""

import pytest

from tests.drills.kills import Drill
from tests.platform import Platform


@pytest.mark.timeout(400)
def test_submits_with_a_kill_at_every_point_end_exactly_once() -> None:
    with Platform(environment=False) as own:
        own.command("image", "add", "default", "--python", "/usr/bin/python3")
        own.add_user("alice")
        drill = Drill(own, "alice")
        drill.run(28)
        drill.verify()
        assert len(drill.submitted) == 28 and len(drill.killed) == 13
