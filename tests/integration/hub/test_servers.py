"""A person's server, from the api's side and the hub's: who may use it, how it ends, what a dead hub does to it."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests import database
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.timeout(120)
RUNNING, OVER = ("running", "failed", "crashed"), ("completed", "canceled", "killed", "failed", "crashed")


def opened(client: httpx.Client, **asked: str) -> dict[str, Any]:
    answer = client.post("/notebooks", json=asked)
    assert answer.status_code == 201, answer.text
    run = wait_for(client, f"/notebooks/{answer.json()['id']}", *RUNNING)
    assert run["phase"] == "running", run
    return dict(run)


def ended(client: httpx.Client, number: int) -> str:
    client.post(f"/notebooks/{number}/stop", json={"mode": "cancel"})
    return str(wait_for(client, f"/notebooks/{number}", *OVER)["phase"])


def newest(client: httpx.Client) -> int:
    return int(client.get("/notebooks").json()["items"][0]["id"])


def until_true(found: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not found():
        assert time.monotonic() < until
        time.sleep(0.1)


def hub_headers(browser: httpx.Client) -> dict[str, str]:
    return {"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/") or ""}


def servers(browser: httpx.Client, person: str, **asked: str) -> dict[str, Any]:
    answer = browser.get(f"/hub/api/users/{person}", params=asked, headers=hub_headers(browser))
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["servers"])


def progress(browser: httpx.Client, person: str) -> dict[str, Any]:
    """Follow a start to its end; return the last event."""
    place = f"/hub/api/users/{person}/server/progress"
    with browser.stream("GET", place, headers=hub_headers(browser)) as events:
        assert events.status_code == 200, events.read()
        last: dict[str, Any] = {}
        for line in events.iter_lines():
            if line.startswith("data:"):
                last = json.loads(line.removeprefix("data:"))
        return last


def start_at_hub(browser: httpx.Client, person: str) -> dict[str, Any]:
    answer = browser.post(f"/hub/api/users/{person}/server", headers=hub_headers(browser))
    assert answer.status_code in {201, 202}, answer.text
    return progress(browser, person)


def test_a_notebook_opens_for_its_person_and_for_nobody_else(hub_platform: Platform) -> None:
    with hub_platform.client("alice") as client, hub_platform.browser("alice") as alice:
        run = opened(client)
        place = httpx.URL(run["url"]).path
        lab = alice.get(run["url"])
        assert lab.status_code == 200 and "JupyterLab" in lab.text, lab.text[:500]
        base = place.split("/lab")[0].rstrip("/")
        assert alice.get(f"{base}/api/status").json()["kernels"] == 0
        with hub_platform.browser("bob") as bob:
            assert bob.get(f"{base}/api/status").status_code == 403
            assert bob.delete(f"/hub/api/users/alice{server_part(base)}", headers=hub_headers(bob)).status_code in {
                403,
                404,
            }
        assert httpx.get(f"{hub_platform.url}{base}/api/status").status_code in {302, 403}
        assert ended(client, run["id"]) in {"completed", "canceled"}
        assert all(not server["ready"] for server in servers(alice, "alice").values())


def server_part(base: str) -> str:
    named = base.split("/user/", 1)[1].partition("/")[2]
    return f"/servers/{named}" if named else "/server"


def test_a_server_started_at_the_hub_is_a_run_like_any_other_and_starts_again(hub_platform: Platform) -> None:
    with hub_platform.client("bob") as client, hub_platform.browser("bob") as bob:
        for _ in range(2):
            assert start_at_hub(bob, "bob").get("ready")
            run = client.get("/notebooks").json()["items"][0]
            assert run["phase"] in {"preparing", "running"}
            assert "JupyterLab" in bob.get("/user/bob/lab").text
            assert bob.get("/user/bob/api/status").status_code == 200
            answer = bob.delete("/hub/api/users/bob/server", headers=hub_headers(bob))
            assert answer.status_code in {202, 204}
            assert wait_for(client, f"/notebooks/{run['id']}", *OVER)


def test_the_end_of_a_server_does_not_interrupt_the_one_that_was_started_after_it(hub_platform: Platform) -> None:
    secret = (hub_platform.state / "secrets" / "service-token").read_text().strip()

    def over(workload: str) -> None:
        answer = httpx.delete(
            f"{hub_platform.url}/hub/api/users/erin/server",
            params={"workload": workload},
            headers={"Authorization": f"token {secret}"},
        )
        assert answer.status_code in {202, 204}, answer.text

    with hub_platform.client("erin") as client, hub_platform.browser("erin") as erin:
        assert start_at_hub(erin, "erin").get("ready")
        first = client.get("/notebooks").json()["items"][0]["id"]
        ended(client, first)
        answer = erin.post("/hub/api/users/erin/server", headers=hub_headers(erin))
        assert answer.status_code == 202, answer.text
        over(f"notebook-{first}")  # the platform's word, late
        last = progress(erin, "erin")
        assert last.get("ready"), last
        over(f"notebook-{first}")
        assert "JupyterLab" in erin.get("/user/erin/lab").text
        anonymous = httpx.delete(f"{hub_platform.url}/hub/api/users/erin/server", params={"workload": "x"})
        assert anonymous.status_code == 403
        over(f"notebook-{first}-2")
        assert wait_for(client, f"/notebooks/{first}", *OVER)["phase"] == "completed"


def test_the_hub_keeps_no_list_of_what_ended_but_what_a_person_named_stays(hub_platform: Platform) -> None:
    def known() -> set[str]:
        return set(servers(frank, "frank", include_stopped_servers="1")) - {""}

    with hub_platform.client("frank") as client, hub_platform.browser("frank") as frank:
        run = opened(client)
        for _ in range(2):  # the same notebook, started again
            assert known() == {f"nb-{run['id']}"}
            ended(client, run["id"])
            until_true(lambda: not known())
            client.post(f"/notebooks/{run['id']}/start").raise_for_status()
            assert wait_for(client, f"/notebooks/{run['id']}", *RUNNING)["phase"] == "running"
        ended(client, run["id"])
        answer = frank.post("/hub/api/users/frank/servers/mine", headers=hub_headers(frank))
        assert answer.status_code in {201, 202}, answer.text
        until_true(lambda: newest(client) != run["id"])
        assert wait_for(client, f"/notebooks/{newest(client)}", *RUNNING)["phase"] == "running"
        ended(client, newest(client))
        assert known() == {"mine"}


def test_a_server_that_the_api_started_once_starts_again_from_the_hub(hub_platform: Platform) -> None:
    with hub_platform.client("carol") as client, hub_platform.browser("carol") as carol:
        run = opened(client)
        ended(client, run["id"])
        last = start_at_hub(carol, "carol")
        assert last.get("ready"), last
        newest = client.get("/notebooks").json()["items"][0]
        ended(client, newest["id"])


def test_a_server_outlives_a_killed_hub_and_is_stopped_by_the_next_one(hub_platform: Platform) -> None:
    with hub_platform.client("dave") as client:
        run = opened(client)
        base = httpx.URL(run["url"]).path.split("/lab")[0].rstrip("/")
        gone = hub_platform.kill("hub")
        back(hub_platform, gone)
        with hub_platform.browser("dave") as dave:
            dave.get(run["url"])
            assert dave.get(f"{base}/api/status").status_code == 200
            assert any(server["ready"] for server in servers(dave, "dave").values())
            assert client.get(f"/notebooks/{run['id']}").json()["phase"] == "running"
            assert ended(client, run["id"]) in {"completed", "canceled"}


def test_a_server_whose_start_a_dying_hub_did_not_record_is_adopted(hub_platform: Platform) -> None:
    with hub_platform.client("erin") as client:
        run = opened(client)
        base = httpx.URL(run["url"]).path.split("/lab")[0].rstrip("/")
        forget_start(hub_platform)
        with hub_platform.browser("erin") as erin:
            body = {"user_options": {"run": run["id"]}}
            place = f"/hub/api/users/erin{server_part(base)}"
            answer = erin.post(place, json=body, headers=hub_headers(erin))
            assert answer.status_code in {201, 202}, answer.text
            with erin.stream("GET", f"{place}/progress", headers=hub_headers(erin)) as events:
                last = [line for line in events.iter_lines() if line.startswith("data:")][-1]
            assert json.loads(last.removeprefix("data:")).get("ready"), last
        with hub_platform.browser("erin") as erin:
            erin.get(run["url"])
            assert erin.get(f"{base}/api/status").status_code == 200
            assert client.get(f"/notebooks/{run['id']}").json()["phase"] == "running"
            assert ended(client, run["id"]) in {"completed", "canceled"}


def test_who_waits_for_a_start_is_answered_when_the_server_can_be_opened(hub_platform: Platform) -> None:
    with hub_platform.browser("alice") as alice:
        place = "/hub/api/users/alice/server"
        answer = alice.post(place, params={"wait": "60"}, headers=hub_headers(alice))
        assert answer.status_code == 201, answer.text
        assert "JupyterLab" in alice.get("/user/alice/lab").text
        assert alice.delete(place, headers=hub_headers(alice)).status_code in {202, 204}
        until_true(lambda: not any(server["ready"] for server in servers(alice, "alice").values()))


def test_a_server_that_ends_at_once_fails_at_once_and_says_why(hub_platform: Platform) -> None:
    hub_platform.command("image", "add", "bare", "--python", "/usr/bin/python3")
    with hub_platform.client("frank") as client:
        run = client.post("/notebooks", json={"image": "bare"}).json()
        found = wait_for(client, f"/notebooks/{run['id']}", *OVER)
        assert found["phase"] in {"failed", "crashed"} and "jupyterhub-singleuser" in found["message"], found
        assert "jupyterhub-singleuser" in client.get(f"/notebooks/{run['id']}/log").text
    # The hub itself saw it, and told whoever waited: its account was not cut short.
    assert hub_platform.says("Not starting frank's server"), hub_platform.said()


def forget_start(platform: Platform) -> None:
    """Kill the hub, and leave its database as it is in the middle of a start: with no server and no state of it."""
    assert platform.process
    os.kill(platform.process.pid, signal.SIGSTOP)
    gone = platform.kill("hub")
    forget = (
        "update spawners set state = '{}', server_id = null",
        "delete from servers where base_url like '%/user/erin/%'",
    )
    database.execute(platform.state, platform.database, *forget, hub=True)
    os.kill(platform.process.pid, signal.SIGCONT)
    back(platform, gone)


def back(platform: Platform, gone: int) -> None:
    """Wait until another hub than `gone` answers."""
    until = os.times().elapsed + 60
    while platform.pid("hub") == gone or not answers(platform.url):
        assert os.times().elapsed < until, platform.said()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hub/login").status_code == 200
    except httpx.HTTPError:
        return False
