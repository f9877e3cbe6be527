"""Signing in: by the form, for the first time, by a program; what is said and what is not."""

import json
import re
import subprocess
import sys

import httpx
import pytest

from tests.platform import PASSWORD, Platform, fault, form_token, problem, sign_in


def test_who_signs_in_comes_to_the_front_page_and_out_again(platform: Platform) -> None:
    with platform.browser("alice") as browser:
        home = browser.get("/services/kqi/")
        assert "Welcome, alice" in home.text
        browser.get("/hub/logout")
        assert "/hub/login" in str(browser.get("/hub/home").url)


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "password is wrong"), ("ja", "パスワードが違います"), ("zh", "密码错误")]
)
def test_a_wrong_password_and_a_wrong_name_are_told_alike_in_the_readers_language(
    platform: Platform, language: str, sentence: str
) -> None:
    with httpx.Client(base_url=platform.url, follow_redirects=True, headers={"Accept-Language": language}) as client:
        told = {
            fault(sign_in(client, name, "wrong password").text) for name in ("bob", "nobody", "ROOT", "a\nb", "x" * 300)
        }
    assert len(told) == 1
    assert sentence in told.pop()
    platform.command("user", "enable", "bob")


def test_an_account_locks_after_five_wrong_passwords_and_an_administrator_lifts_it(platform: Platform) -> None:
    platform.add_user("carol")
    with httpx.Client(base_url=platform.url, follow_redirects=True) as client:
        for _ in range(5):
            sign_in(client, "carol", "wrong password")
        locked = sign_in(client, "carol", PASSWORD)
        assert locked.status_code == 403
        assert "Too many wrong passwords" in fault(locked.text)
        platform.command("user", "passwd", "carol", "--password-stdin", text=PASSWORD + "\n")
        assert sign_in(client, "carol", PASSWORD).status_code == 200


def test_neither_a_lock_nor_a_change_of_password_tells_whether_there_is_such_an_account(platform: Platform) -> None:
    platform.add_user("guessed")
    told = []
    for name in ("guessed", "nobody-of-this-name"):
        with httpx.Client(base_url=platform.url, follow_redirects=True) as client:
            pages = [sign_in(client, name, "wrong password") for _ in range(6)]
        answers = [(page.status_code, fault(page.text)) for page in pages]
        body = {"username": name, "old": "wrong password", "new": PASSWORD}
        change = httpx.post(f"{platform.url}/hub/kqi/password", json=body)
        told.append([*answers, (change.status_code, problem(change))])
    assert told[0] == told[1]
    assert "Too many wrong passwords" in told[0][-2][1] and told[0][-1] == (403, "account_locked")


def test_a_disabled_account_is_told_so_only_to_who_knows_its_password(platform: Platform) -> None:
    platform.add_user("dave")
    token = platform.token("dave")
    platform.command("user", "disable", "dave")
    with httpx.Client(base_url=platform.url, follow_redirects=True) as client:
        assert "switched off" in fault(sign_in(client, "dave", PASSWORD).text)
        assert "switched off" not in fault(sign_in(client, "dave", "wrong password").text)
    answer = httpx.get(f"{platform.api}/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, problem(answer)) == (403, "account_disabled")


def test_the_first_password_must_be_changed_before_there_is_a_session(platform: Platform) -> None:
    done = platform.command("user", "add", "erin")
    given = re.search(r"password: (\S+)", done.stdout)
    assert given
    refused = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": "erin", "password": given[1]})
    assert (refused.status_code, problem(refused)) == (403, "must_change_password")
    with httpx.Client(base_url=platform.url, follow_redirects=True, headers={"Sec-Fetch-Mode": "navigate"}) as client:
        form = sign_in(client, "erin", given[1])
        assert "/hub/kqi/first-password" in str(form.url)
        assert "/hub/login" in str(client.get("/hub/home").url)
        form = client.get("/hub/kqi/first-password")
        for new, again, sentence in (
            ("short", "short", "at least"),
            (PASSWORD, "other", "not alike"),
            (given[1], given[1], "same"),
        ):
            fields = {"_xsrf": form_token(form.text), "old": given[1], "new": new, "again": again}
            form = client.post("/hub/kqi/first-password", data=fields)
            assert sentence in fault(form.text), form.text
        fields = {"_xsrf": form_token(form.text), "old": given[1], "new": PASSWORD, "again": PASSWORD}
        home = client.post("/hub/kqi/first-password", data=fields)
        assert "Welcome, erin" in home.text


def test_the_name_in_the_change_cookie_cannot_be_forged(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url, headers={"Sec-Fetch-Mode": "navigate"}) as client:
        client.cookies.set("kqi-change", "admin:99999999999:0000", path="/")
        assert client.get("/hub/kqi/first-password").headers["location"] == "/hub/login"


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "http:evil.example",
        "/%0d%0aLocation:x",
        "javascript:alert(1)",
        "/ /evil",
        "///evil.example",
        "/\t/evil.example",
        "evil",
        "https:/evil.example",
        "/x:y//z",
    ],
)
def test_a_way_on_never_leads_elsewhere(platform: Platform, place: str) -> None:
    with httpx.Client(base_url=platform.url) as client:
        answer = sign_in(client, "alice", PASSWORD, next=place)
        assert answer.status_code == 302
        where = httpx.URL(answer.headers["location"])
        assert not where.host or where.host == "127.0.0.1"
        assert answer.headers["location"].startswith("/") and not answer.headers["location"].startswith("//")


def test_a_form_without_its_token_changes_nothing(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url) as client:
        for fetch in ("navigate", "no-cors", "cors", "same-origin", ""):
            headers = {"Sec-Fetch-Mode": fetch} if fetch else {}
            answer = client.post("/hub/login", data={"username": "alice", "password": PASSWORD}, headers=headers)
            assert answer.status_code == 403
    with platform.browser("alice") as browser:
        answer = browser.post("/services/kqi/api/v1/data", json={"name": "forged"})
        assert (answer.status_code, problem(answer)) == (403, "csrf_token_missing")
        csrf = browser.get("/services/kqi/session").text
        made = browser.post("/services/kqi/api/v1/data", json={"name": "mine"}, headers={"X-KQI-CSRF": csrf})
        assert made.status_code == 201


def test_who_begins_to_sign_in_in_two_tabs_is_in_with_either(platform: Platform) -> None:
    headers = {"Sec-Fetch-Mode": "navigate"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=60) as client:
        first, second = (client.get("/services/kqi/").headers["location"] for _ in range(2))
        sign_in(client, "alice", PASSWORD)
        for tab in (first, second, first):
            assert "Welcome, alice" in client.get(tab, follow_redirects=True).text


def test_a_program_signs_in_by_a_code_that_a_person_approves(platform: Platform) -> None:
    begun = httpx.post(f"{platform.api}/device", json={"client": "test program"}).json()
    redeem = {"device_code": begun["device_code"]}
    waiting = httpx.post(f"{platform.api}/device/token", json=redeem)
    assert problem(waiting) == "authorization_pending"
    with platform.browser("alice") as browser:
        page = browser.get(begun["verification_uri_complete"])
        assert "test program" in page.text and begun["user_code"] in page.text
        action = re.search(r'action="([^"]+answer=approve)"', page.text)
        assert action
        done = browser.post(action[1].replace("&amp;", "&"))
        assert "Approved" in done.text
    token = httpx.post(f"{platform.api}/device/token", json=redeem).json()["token"]
    me = httpx.get(f"{platform.api}/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert me["name"] == "alice"
    assert problem(httpx.post(f"{platform.api}/device/token", json=redeem)) == "expired_token"


def test_tokens_are_listed_without_their_text_and_end_when_revoked(platform: Platform) -> None:
    with platform.client("alice") as client:
        made = client.post("/tokens", json={"name": "ci", "days": 1}).json()
        listed = client.get("/tokens").json()["items"]
        assert made["info"]["id"] in [token["id"] for token in listed]
        assert made["token"] not in json.dumps(listed)
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert client.get("/me", headers=headers).status_code == 200
        assert client.delete(f"/tokens/{made['info']['id']}").status_code == 204
        assert client.get("/me", headers=headers).status_code == 401


def test_too_many_attempts_from_one_address_have_to_wait() -> None:
    with Platform(environment=False, KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="3") as small:
        answers = [
            httpx.post(f"{small.url}/hub/kqi/token", json={"username": f"u{n}", "password": "x"}) for n in range(4)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert int(answers[-1].headers["retry-after"]) > 0


def test_the_client_that_the_platform_hands_out_installs_and_works(platform: Platform, tmp_path: object) -> None:
    page = httpx.get(f"{platform.url}/services/kqi/client").text
    line = re.search(r"pip install (\S+\.whl)", page)
    assert line
    target = f"{tmp_path}/site"
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, line[1]]
    subprocess.run(words, check=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-m", "kqi", "--version"],
        env={"PYTHONPATH": target, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        done = subprocess.run(
            [sys.executable, "-m", "kqi", "version", "--help"],
            env={"PYTHONPATH": target},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
