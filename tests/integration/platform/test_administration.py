"""Administration on the whole platform: who is suspended is out of everything, and told why."""

import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.platform import PASSWORD, Platform, fault, form_token, problem, sign_in, wait_for

_NAVIGATE = {"Sec-Fetch-Mode": "navigate"}


def until(condition: Callable[[], Any], within_s: float = 60) -> Any:
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def csrf(browser: httpx.Client) -> dict[str, str]:
    return {"X-KQI-CSRF": browser.get("/services/kqi/session").text}


def administrator(platform: Platform, name: str) -> httpx.Client:
    platform.add_user(name, "--admin")
    return platform.client(name)


def test_who_is_suspended_is_out_of_everything_and_is_told_why(platform: Platform) -> None:
    admin = administrator(platform, "chief")
    platform.add_user("crook")
    small = {"cpu": 0.1, "memory_gb": 0.5}
    with platform.browser("crook") as browser, platform.client("crook") as program:
        training = program.post("/trainings", json={"command": "sleep 900", "resources": small}).json()
        notebook = program.post("/notebooks", json={"title": "n", "resources": small}).json()
        wait_for(program, f"/trainings/{training['id']}", "running")
        wait_for(program, f"/notebooks/{notebook['id']}", "running")
        assert browser.get("/services/kqi/api/v1/me").status_code == 200
        answer = admin.post("/admin/people/crook/suspend", json={"reason": "mining"})
        assert answer.status_code == 200, answer.text
        refused = program.get("/me")
        assert (refused.status_code, problem(refused)) == (403, "account_disabled")
        refused = until(lambda: (a := browser.get("/services/kqi/api/v1/me")).status_code != 200 and a)
        assert (refused.status_code, problem(refused)) == (403, "account_disabled")
        until(lambda: "login" in str(browser.get("/hub/kqi/password").url))
        with platform.client("alice") as colleague:
            for kind, run in (("trainings", training), ("notebooks", notebook)):
                ended = wait_for(colleague, f"/{kind}/{run['id']}", "canceled", "killed", "completed", "failed")
                assert ended["phase"] in {"canceled", "killed"}, ended
                events = colleague.get(f"/{kind}/{run['id']}/events").json()["events"]
                assert "account_disabled" in [event["reason"] for event in events]
        with httpx.Client(base_url=platform.url, follow_redirects=True, headers=_NAVIGATE, timeout=60) as again:
            assert "switched off" in fault(sign_in(again, "crook", PASSWORD).text)
        admin.post("/admin/people/crook/resume")
        assert program.get("/me").status_code == 401
    with platform.browser("crook") as back:
        assert back.get("/services/kqi/api/v1/me").json()["name"] == "crook"
    admin.close()


def test_a_suspension_by_command_holds_for_browsers_too(platform: Platform) -> None:
    platform.add_user("offline")
    with platform.browser("offline") as browser:
        assert browser.get("/services/kqi/api/v1/me").status_code == 200
        platform.command("user", "disable", "offline")
        until(lambda: browser.get("/services/kqi/api/v1/me").status_code == 403)
        until(lambda: "login" in str(browser.get("/hub/kqi/password").url))


def test_administrators_see_who_is_signed_in_where_and_end_it(platform: Platform) -> None:
    admin = administrator(platform, "warden")
    platform.add_user("visitor")
    with platform.browser("visitor") as browser, platform.client("visitor") as program:
        assert browser.get("/services/kqi/api/v1/me", headers={"User-Agent": "a browser"}).status_code == 200
        program.get("/me")
        found = admin.get("/admin/sessions", params={"person": "visitor"}).json()["items"]
        browsers = [item for item in found if item["kind"] == "browser"]
        assert {item["person"] for item in found} == {"visitor"} and len(browsers) == 1
        assert browsers[0]["address"] and browsers[0]["used_at"]
        tokens = [item for item in found if item["kind"] == "token"]
        assert len(tokens) == 1 and tokens[0]["address"]
        gone = admin.delete(f"/admin/people/visitor/sessions/{tokens[0]['id']}")
        assert gone.status_code == 204 and program.get("/me").status_code == 401
        gone = admin.delete(f"/admin/people/visitor/sessions/{browsers[0]['id']}")
        assert gone.status_code == 204, gone.text
        until(lambda: browser.get("/services/kqi/api/v1/me").status_code == 401)
        assert "login" in str(browser.get("/services/kqi/").url)
        for nobodys in ("a999999", "token-999999"):
            assert admin.delete(f"/admin/people/visitor/sessions/{nobodys}").status_code == 404
        ended = admin.get("/admin/audit", params={"action": "session.end", "person": "warden"}).json()["items"]
        assert [item["details"]["session"] for item in ended] == [browsers[0]["id"], tokens[0]["id"]]
        assert admin.delete("/admin/people/visitor/sessions").json() == {"ended": 0}
    admin.close()


def test_only_the_service_may_ask_the_hub_for_sessions(platform: Platform) -> None:
    for method in ("GET", "DELETE"):
        answer = httpx.request(method, f"{platform.url}/hub/kqi/sessions", params={"person": "alice"})
        assert answer.status_code == 401
        answer = httpx.request(
            method,
            f"{platform.url}/hub/kqi/sessions",
            params={"person": "alice"},
            headers={"Authorization": f"Bearer {platform.token('alice')}"},
        )
        assert answer.status_code == 401


def test_a_refused_sign_in_is_on_record_with_its_address(platform: Platform) -> None:
    admin = administrator(platform, "observer")
    with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60) as client:
        for _ in range(3):
            sign_in(client, "alice", "a marked wrong password")
    found = admin.get("/admin/audit", params={"person": "alice", "result": "refused"}).json()["items"]
    assert [(item["action"], item["refused"]) for item in found] == [("session.begin", "sign_in_failed")]
    assert found[0]["address"] and "marked" not in str(found)
    assert admin.get("/admin/audit/verify").json()["whole"]
    admin.close()


def test_a_change_without_the_form_token_is_on_record(platform: Platform) -> None:
    admin = administrator(platform, "onlooker")
    with platform.browser("alice") as browser:
        assert browser.post("/services/kqi/api/v1/datasets", json={"name": "forged"}).status_code == 403
    with httpx.Client(base_url=platform.url) as nobody:
        assert nobody.post("/services/kqi/api/v1/datasets", json={"name": "forged"}).status_code == 401
    found = admin.get("/admin/audit", params={"action": "create_dataset", "result": "refused"}).json()["items"]
    said = [(item["person"], item["object"], item["refused"]) for item in found]
    assert said == [("alice", "datasets", "csrf_token_missing")]
    assert found[0]["address"]
    with platform.client("alice") as program:
        assert "forged" not in program.get("/datasets").text
    admin.close()


def test_without_the_setting_there_is_no_form(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60) as client:
        assert client.get("/hub/kqi/apply").status_code == 404
        assert "/hub/kqi/apply" not in client.get("/hub/login", headers=_NAVIGATE).text


def test_somebody_applies_is_approved_and_signs_in() -> None:
    settings = {"KQI_HUB__APPLICATIONS__ENABLED": "true", "KQI_HUB__APPLICATIONS__PER_HOUR": "6"}
    with Platform(environment=False, **settings) as platform:
        admin = administrator(platform, "clerk")
        with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60, headers=_NAVIGATE) as client:
            assert 'href="/hub/kqi/apply"' in client.get("/hub/login").text
            form = {
                "_xsrf": form_token(client.get("/hub/kqi/apply").text),
                "name": "山田 花子",
                "email": "hanako@example.org",
                "category": "student",
                "affiliation": "<b>情報</b>",
                "terms": "yes",
            }
            for field, wrong in (("name", ""), ("email", "x"), ("category", "king"), ("terms", "")):
                answer = client.post("/hub/kqi/apply", data={**form, field: wrong})
                assert answer.status_code == 400 and fault(answer.text)
                assert "<b>" not in answer.text
            first = client.post("/hub/kqi/apply", data=form)
            again = client.post("/hub/kqi/apply", data=form)
            assert first.status_code == again.status_code == 200
            said = [re.sub(r'name="_xsrf" value="[^"]+"', "", answer.text) for answer in (first, again)]
            assert said[0] == said[1] and 'role="status"' in said[0]
            for number in range(4):
                client.post("/hub/kqi/apply", data={**form, "email": f"x{number}@example.org"})
            assert client.post("/hub/kqi/apply", data=form).status_code == 429
        waiting = admin.get("/admin/applications", params={"state": "waiting"}).json()["items"]
        assert [item["email"] for item in waiting] == ["hanako@example.org", *(f"x{n}@example.org" for n in range(4))]
        assert (waiting[0]["terms"], waiting[0]["affiliation"]) == ("1", "<b>情報</b>")
        ldif = admin.get("/admin/applications/ldif").text
        assert "dn: uid=hanako,ou=people,dc=example,dc=org" in ldif and "cn:: " in ldif
        approved = admin.post(f"/admin/applications/{waiting[0]['id']}/approve", json={"user": "hanako"}).json()
        twice = admin.post(f"/admin/applications/{waiting[0]['id']}/approve", json={"user": "hanako2"})
        assert problem(twice) == "application_decided"
        declined = admin.post(f"/admin/applications/{waiting[1]['id']}/decline", json={"reason": "unknown"}).json()
        assert (declined["state"], declined["by"]) == ("declined", "clerk")
        with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60, headers=_NAVIGATE) as client:
            answer = sign_in(client, "hanako", approved["password"])
            assert "first-password" in str(answer.url)
        admin.close()
