"""A notebook from outside: what is asked of it while it starts."""

import time

from tests.platform import Platform, wait_for


def test_one_that_is_stopped_while_it_starts_ends_at_once_and_without_a_fault() -> None:
    with Platform() as platform:
        platform.add_user("alice")
        with platform.client("alice") as client:
            run = client.post("/notebooks", json={"title": "look"}).json()
            place = f"/notebooks/{run['id']}"
            while not any(platform.state.rglob("ledger/*/started")):
                time.sleep(0.01)
            client.post(f"{place}/stop", json={}).raise_for_status()
            assert wait_for(client, place, "canceled", "failed", "completed", "killed")["phase"] == "canceled"
            again = client.post("/notebooks", json={"title": "look"}).json()
            ready = wait_for(client, f"/notebooks/{again['id']}", "running", "failed")
            assert ready["phase"] == "running"
        assert "Traceback" not in platform.said() and "will be tried again" not in platform.said()
