"""Guessing: what one address may try, and what it cannot get round."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import database
from tests.platform import PASSWORD, Platform, fault, form_token, problem, sign_in


@pytest.mark.parametrize("header", ["X-Real-Ip", "X-Forwarded-For"])
def test_an_address_cannot_pretend_to_be_another_to_try_more_often(header: str) -> None:
    with Platform(environment=False, KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="3") as small:
        codes = [
            httpx.post(
                f"{small.url}/hub/kqi/token",
                json={"username": f"u{n}", "password": "x"},
                headers={header: f"198.51.100.{n}"},
            ).status_code
            for n in range(4)
        ]
        assert codes == [401, 401, 401, 429]


@pytest.mark.parametrize(
    "place",
    ["/%2f/evil.example", "/%2F%2Fevil.example", "/%5cevil.example", "/%5C%5Cevil.example", "/%09/evil.example",
     "/%252f/evil.example", "/hub/%2e%2e//evil.example", "/..//evil.example", "/x\u2028y", "//%2fevil.example"],
)  # fmt: skip
def test_an_encoded_way_on_never_leads_elsewhere(hub_platform: Platform, place: str) -> None:
    with httpx.Client(base_url=hub_platform.url) as client:
        answer = sign_in(client, "alice", PASSWORD, next=place)
        assert (answer.status_code, answer.headers["location"]) == (302, "/services/kqi/")


@pytest.mark.parametrize("place", ["/services/kqi/data/3?tab=files&q=a%20b%2Fc", "/hub/home", "/user/alice/lab"])
def test_an_honest_way_on_is_kept(hub_platform: Platform, place: str) -> None:
    with httpx.Client(base_url=hub_platform.url) as client:
        assert sign_in(client, "alice", PASSWORD, next=place).headers["location"] == place


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 50_000, b'{"username": 3, "password": "x"}',
     b'{"username": "alice"}', json.dumps({"username": "alice", "password": "x", "name": ""}).encode(),
     json.dumps({"username": "alice", "password": "x", "more": 1}).encode()],
)  # fmt: skip
def test_a_body_that_makes_no_sense_is_refused(hub_platform: Platform, body: bytes) -> None:
    answer = httpx.post(f"{hub_platform.url}/hub/kqi/token", content=body)
    assert answer.status_code in {400, 422} and problem(answer) == "invalid_request"


@pytest.mark.parametrize("password", ["", "\0", "x\0y", "\ud800", "x" * 4000])
@pytest.mark.parametrize("name", ["alice", "", "\0", "..", "alice\n", "ALICE", " alice", "x" * 200, "\ud800"])
def test_impossible_names_and_passwords_are_told_like_wrong_ones(
    hub_platform: Platform, name: str, password: str
) -> None:
    body = json.dumps({"username": name, "password": password})
    answer = httpx.post(f"{hub_platform.url}/hub/kqi/token", content=body.encode())
    assert answer.status_code in {401, 403, 422}, answer.text
    hub_platform.command("user", "enable", "alice") if answer.status_code == 403 else None


def test_a_password_that_cannot_be_typed_again_is_not_set(hub_platform: Platform) -> None:
    with hub_platform.browser("bob") as bob:
        for old, new in ((PASSWORD, "ten chars\0 and more"), ("", "long enough password"), ("\0", "long enough")):
            page = bob.get("/hub/kqi/password")
            fields = {"_xsrf": form_token(page.text), "old": old, "new": new, "again": new}
            answer = bob.post("/hub/kqi/password", data=fields)
            assert answer.status_code == 400 and fault(answer.text), answer.text
    hub_platform.token("bob")


def test_one_changes_the_password_oneself(hub_platform: Platform) -> None:
    with hub_platform.browser("bob") as bob:
        page = bob.get("/hub/kqi/password")
        other = PASSWORD + " 2"
        for old, new in ((PASSWORD, other), (other, PASSWORD)):
            fields = {"_xsrf": form_token(page.text), "old": old, "new": new, "again": new}
            page = bob.post("/hub/kqi/password", data=fields)
            assert page.status_code == 200 and not fault(page.text), page.text
            page = bob.get("/hub/kqi/password")
        assert bob.post("/hub/kqi/password", data={"old": PASSWORD, "new": other, "again": other}).status_code == 403
    hub_platform.token("bob")


def test_a_service_asks_whether_a_password_is_right_and_nobody_else_does(hub_platform: Platform) -> None:
    body = {"username": "alice", "password": PASSWORD}
    url = f"{hub_platform.url}/hub/kqi/verify"
    assert httpx.post(url, json=body).status_code == 401
    key = (hub_platform.state / "secrets" / "service-token").read_text().strip()
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["name"], answer.json()["administrator"]) == (200, "alice", False)
    wrong = httpx.post(url, json={**body, "password": "wrong one"}, headers={"Authorization": f"Bearer {key}"})
    assert (wrong.status_code, problem(wrong)) == (401, "sign_in_failed")


def test_where_passwords_cannot_be_checked_the_page_says_so(hub_platform: Platform) -> None:
    place = (hub_platform.state, hub_platform.database)
    with hub_platform.browser("bob") as bob, httpx.Client(base_url=hub_platform.url, timeout=90) as client:
        page = bob.get("/hub/kqi/password")
        database.execute(*place, "alter table local_accounts rename to away")
        try:
            answer = sign_in(client, "alice", PASSWORD)
            assert answer.status_code == 503 and "cannot be checked" in fault(answer.text)
            key = (hub_platform.state / "secrets" / "service-token").read_text().strip()
            body, headers = {"username": "alice", "password": PASSWORD}, {"Authorization": f"Bearer {key}"}
            verified = client.post("/hub/kqi/verify", json=body, headers=headers)
            assert (verified.status_code, verified.headers["Retry-After"]) == (503, "5")
            fields = {"_xsrf": form_token(page.text), "old": PASSWORD, "new": "another one", "again": "another one"}
            changed = bob.post("/hub/kqi/password", data=fields)
            assert changed.status_code == 503 and "cannot be checked" in fault(changed.text)
        finally:
            database.execute(*place, "alter table away rename to local_accounts")


def test_a_token_that_cannot_be_kept_is_no_fault_of_ours() -> None:
    who, came = {"username": "alice", "password": PASSWORD}, "select max(id) from audit"
    with Platform(environment=False) as own, ThreadPoolExecutor(1) as program:
        own.add_user("alice")
        for _ in range(20):  # until another writer comes between the sign-in and its token
            asked = program.submit(httpx.post, f"{own.url}/hub/kqi/token", json=who, timeout=60)
            with database.held(own.state, own.database, once=came):
                answer = asked.result()
            assert answer.status_code in {201, 503}, answer.text
            if answer.status_code == 503:
                break
        assert problem(answer) == "directory_unreachable"


def test_terms_that_cannot_be_accepted_now_say_so() -> None:
    with Platform(environment=False) as own:
        own.add_user("chief", "--admin")
        with own.client("chief") as client, own.browser("chief") as browser:
            client.post("/terms", json={"en": "No mining.", "ja": "-", "zh": "-"}).raise_for_status()
            page = browser.get("/hub/kqi/terms")
            form = {"_xsrf": form_token(page.text), "version": "1", "accept": "yes"}
            with database.held(own.state, own.database):
                refused = browser.post("/hub/kqi/terms", data=form)
            assert refused.status_code == 503 and "was busy for too long" in refused.text
            assert browser.post("/hub/kqi/terms", data=form).url.path == "/services/kqi/"
