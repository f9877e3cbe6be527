"""A notebook from outside: what is asked of it while it starts."""

import threading
import time
from pathlib import Path

import httpx

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


_SLOW_TO_LOOK = """
import asyncio
from kqi_spawner.jupyterhub.local_spawner import KqiLocalSpawner

async def slow(spawner, look=KqiLocalSpawner.poll):
    await asyncio.sleep(0.5)
    return await look(spawner)

KqiLocalSpawner.poll = slow
c.JupyterHub.services.append({"name": "test", "api_token": "of-the-tests-alone"})
c.JupyterHub.load_roles.append({"name": "test", "scopes": ["servers"], "services": ["test"]})
"""


def test_one_that_is_asked_for_again_just_when_it_is_ready_is_not_taken_for_failed(tmp_path: Path) -> None:
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "slow.py").write_text(_SLOW_TO_LOOK)
    with Platform(state=tmp_path) as platform:
        platform.add_user("alice")
        with platform.client("alice") as client:
            run = client.post("/notebooks", json={"title": "look"}).json()
            started = threading.Event()
            asking = threading.Thread(target=ask_on, args=(platform, f"nb-{run['id']}", started))
            asking.start()
            try:
                ready = wait_for(client, f"/notebooks/{run['id']}", "running", "failed", "completed", "killed")
            finally:
                started.set()
                asking.join()
            assert ready["phase"] == "running", platform.said()


def ask_on(platform: Platform, server: str, until: threading.Event) -> None:
    """Ask the hub for a server again and again."""
    headers = {"Authorization": "token of-the-tests-alone"}
    while not until.wait(0.02):
        httpx.post(f"{platform.url}/hub/api/users/alice/servers/{server}", headers=headers, json={}, timeout=30)
