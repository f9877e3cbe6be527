"""The whole platform with a directory: sign-in page, changes of passwords, programs, and who is no longer there."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests import slapd
from tests.integration.directory.conftest import platform_over
from tests.platform import Platform, fault, form_token, problem, sign_in, wait_for
from tests.slapd import PASSWORD, Slapd, dn_of

LONG_AGO = "20200101000000Z"
STAFF = f"cn=staff,{slapd.GROUPS}"
NEW = "another horse battery"
_NAVIGATE = {"Sec-Fetch-Mode": "navigate"}


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    dated = {"pwdPolicySubentry": f"cn=dated,{slapd.POLICIES}"}
    people = [slapd.person(name, 10000 + number) for number, name in enumerate(_PEOPLE)]
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%SZ")
    old = [slapd.person(name, 11000, pwdChangedTime=LONG_AGO, **dated) for name in ("grace", "late")]
    made.load(
        [
            *slapd.tree(),
            slapd.policy_entry("dated", pwdMaxAge="3600", pwdGraceAuthNLimit="3", pwdExpireWarning="0"),
            slapd.policy_entry("warned", pwdMaxAge="864000", pwdExpireWarning="863999"),
            slapd.policy_entry("slow", pwdMinAge="86400"),
            *people,
            *old,
            slapd.person("soon", 12000, pwdChangedTime=now, pwdPolicySubentry=f"cn=warned,{slapd.POLICIES}"),
            slapd.person("young", 12001, pwdChangedTime=now, pwdPolicySubentry=f"cn=slow,{slapd.POLICIES}"),
            slapd.group("staff", dn_of("boss")),
        ]
    )
    with made:
        yield made


_PEOPLE = ("alice", "bob", "boss", "fresh", "fresher", "gone", "idle", "left", "program")


@pytest.fixture(scope="module")
def platform(server: Slapd) -> Iterator[Platform]:
    found = platform_over(server, admin_groups=[STAFF], look_up_cache_s=0.5)
    found.environment = True
    with found:
        yield found


@pytest.fixture
def browser(platform: Platform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60, headers=_NAVIGATE) as client:
        yield client


def change(client: httpx.Client, page: httpx.Response, old: str, new: str) -> httpx.Response:
    fields = {"_xsrf": form_token(page.text), "old": old, "new": new, "again": new}
    return client.post(page.url, data=fields)


def me(platform: Platform, name: str, password: str = PASSWORD) -> Any:
    answer = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": name, "password": password})
    assert answer.status_code == 201, answer.text
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    return httpx.get(f"{platform.api}/me", headers=headers).json()


def test_people_of_the_directory_and_local_accounts_sign_in_side_by_side(
    platform: Platform, browser: httpx.Client
) -> None:
    assert "Welcome, Alice Example" in sign_in(browser, "alice", PASSWORD).text
    assert me(platform, "alice")["administrator"] is False
    assert me(platform, "boss")["administrator"] is True
    first = platform.initial_password()
    with httpx.Client(base_url=platform.url, follow_redirects=True, headers=_NAVIGATE) as client:
        assert "/hub/kqi/first-password" in str(sign_in(client, "admin", first).url)
    told = {fault(sign_in(browser_of(platform), name, "wrong").text) for name in ("bob", "nobody", "admin")}
    assert told == {"User name or password is wrong."}


def test_nobody_gives_a_password_to_who_has_one_in_the_directory(platform: Platform) -> None:
    me(platform, "alice")
    refused = platform.command("user", "passwd", "alice", check=False)
    assert refused.returncode == 1 and "alice is kept by the directory ldap" in " ".join(refused.stderr.split())
    assert me(platform, "alice")["name"] == "alice"


def browser_of(platform: Platform) -> httpx.Client:
    return httpx.Client(base_url=platform.url, follow_redirects=True, headers=_NAVIGATE)


def test_who_must_change_the_password_does_so_and_is_in(
    platform: Platform, server: Slapd, browser: httpx.Client
) -> None:
    server.change(dn_of("fresh"), pwdReset="TRUE")
    token = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": "fresh", "password": PASSWORD})
    assert (token.status_code, problem(token)) == (403, "must_change_password")
    page = sign_in(browser, "fresh", PASSWORD)
    assert "/hub/kqi/first-password" in str(page.url) and "must be changed before you go on, fresh" in page.text
    for old, new, sentence in (
        ("wrong", NEW, "present password is wrong"),
        (PASSWORD, "short", "too short"),
        (PASSWORD, PASSWORD, "same as the present"),
    ):
        page = change(browser, page, old, new)
        assert sentence in fault(page.text)
    assert "Welcome, Fresh Example" in change(browser, page, PASSWORD, NEW).text
    assert me(platform, "fresh", NEW)["name"] == "fresh"


def test_a_program_changes_a_password_that_must_be_changed(platform: Platform, server: Slapd) -> None:
    server.change(dn_of("fresher"), pwdReset="TRUE")
    place, who = f"{platform.url}/hub/kqi/password", {"username": "fresher", "old": PASSWORD}
    wrong = httpx.post(place, json={**who, "old": "wrong", "new": NEW})
    nobody = httpx.post(place, json={**who, "username": "nobody", "new": NEW})
    assert (wrong.status_code, wrong.json()) == (nobody.status_code, nobody.json())
    assert (wrong.status_code, problem(wrong)) == (403, "password_wrong_old")
    short = httpx.post(place, json={**who, "new": "short"}, headers={"Accept-Language": "ja"})
    assert (short.status_code, problem(short)) == (422, "password_too_short_there")
    assert "短すぎます" in short.json()["detail"]
    assert problem(httpx.post(place, json={"username": "fresher"})) == "invalid_request"
    assert httpx.post(place, json={**who, "new": NEW}).status_code == 204
    assert me(platform, "fresher", NEW)["name"] == "fresher"
    history = httpx.post(place, json={**who, "old": NEW, "new": PASSWORD})
    assert (history.status_code, problem(history)) == (422, "password_in_history")


def test_a_change_that_one_wants_and_one_that_comes_too_soon(platform: Platform, browser: httpx.Client) -> None:
    sign_in(browser, "young", PASSWORD)
    page = browser.get("/hub/kqi/password")
    assert "changed only a short while ago" in fault(change(browser, page, PASSWORD, NEW).text)
    with browser_of(platform) as client:
        sign_in(client, "bob", PASSWORD)
        done = change(client, client.get("/hub/kqi/password"), PASSWORD, NEW)
        assert "has been changed" in done.text
    assert me(platform, "bob", NEW)["name"] == "bob"


def test_who_has_sign_ins_left_or_a_password_that_expires_is_told_so(platform: Platform, browser: httpx.Client) -> None:
    page = sign_in(browser, "grace", PASSWORD, next="/services/kqi/client")
    assert "has expired. You can sign in with it 2 more times" in page.text
    later = re.search(r'class="later"><a href="([^"]+)"', page.text)
    assert later and later[1] == "/services/kqi/client"
    assert "has been changed" in change(browser, page, PASSWORD, NEW).text
    with browser_of(platform) as client:
        page = sign_in(client, "soon", PASSWORD)
        assert re.search(r"expires on \d{4}-\d\d-\d\d", page.text)
        assert "expires on" not in client.get("/hub/kqi/password").text
    for left in (2, 1, 0):
        with browser_of(platform) as client:
            page = sign_in(client, "late", PASSWORD)
            assert (f"{left} more times" if left else "this was the last time") in page.text
    with browser_of(platform) as client:
        assert "can no longer be changed here" in fault(sign_in(client, "late", PASSWORD).text)


def test_who_is_taken_out_of_the_directory_is_out(platform: Platform, server: Slapd, browser: httpx.Client) -> None:
    assert "Welcome" in sign_in(browser, "gone", PASSWORD).text
    token = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": "gone", "password": PASSWORD}).json()["token"]
    rename(server, "gone", "elsewhere")
    assert fault(sign_in(browser_of(platform), "gone", PASSWORD).text) == "User name or password is wrong."
    # They are known already: another account of theirs there is not, and nobody is led to believe in a fault of ours.
    assert "known here under another name" in fault(sign_in(browser_of(platform), "elsewhere", PASSWORD).text)
    program = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": "elsewhere", "password": PASSWORD})
    assert (program.status_code, problem(program)) == (403, "account_renamed")
    explained = platform.command("check-config", "--ldap", "elsewhere", check=False)
    assert explained.returncode == 1 and "knows this person by another name, gone" in explained.stdout
    until(lambda: told(platform, token) == (403, "account_disabled"))
    boss = platform.client("boss")
    assert boss.get("/admin/people/gone").json()["state"] == "gone"
    assert [one["name"] for one in boss.get("/admin/people", params={"state": "gone"}).json()["items"]] == ["gone"]
    # Nothing is lost: who comes back finds it all as it was.
    rename(server, "elsewhere", "gone")
    until(lambda: told(platform, token) == (200, ""))
    said = boss.get("/admin/audit", params={"object": "person/gone", "action": "person.*"}).json()["items"]
    assert [one["action"] for one in said] == ["person.back", "person.gone"]
    # The same name, but not the same person.
    server.delete(dn_of("gone"))
    server.add(*slapd.person("gone", 10005))
    until(lambda: told(platform, token) == (403, "account_disabled"))


def test_who_has_nothing_but_an_open_browser_is_out_as_well(
    platform: Platform, server: Slapd, browser: httpx.Client
) -> None:
    sign_in(browser, "idle", PASSWORD)
    assert browser.get("/services/kqi/api/v1/me").json()["name"] == "idle"
    rename(server, "idle", "elsewhere")
    until(lambda: browser.get("/services/kqi/api/v1/me").status_code == 401)
    rename(server, "elsewhere", "idle")


def test_an_open_jupyterlab_is_shut_to_who_is_taken_out_and_none_is_started(
    platform: Platform, server: Slapd, browser: httpx.Client
) -> None:
    sign_in(browser, "left", PASSWORD)
    mine = "/services/kqi/api/v1"
    asked = {"title": "look", "resources": {"cpu": 0.1, "memory_gb": 0.5}}
    csrf = {"X-KQI-CSRF": browser.get("/services/kqi/session").text}
    with httpx.Client(base_url=platform.url, cookies=browser.cookies, timeout=60) as program:
        run = program.post(f"{mine}/notebooks", json=asked, headers=csrf).json()
        wait_for(program, f"{mine}/notebooks/{run['id']}", "running", "failed")
        lab = httpx.URL(program.get(f"{mine}/notebooks/{run['id']}").json()["url"]).path
    assert "JupyterLab" in browser.get(lab).text
    rename(server, "left", "elsewhere")
    until(lambda: browser.get(lab).url.path == "/hub/login", within_s=150)
    refused = launched(platform, "left")
    assert (refused.status_code, problem(refused)) == (404, "not_found")
    # Nothing of theirs ends by it.
    with platform.client("alice") as colleague:
        assert colleague.get(f"/notebooks/{run['id']}").json()["phase"] == "running"
    rename(server, "elsewhere", "left")
    assert "Welcome" in sign_in(browser_of(platform), "left", PASSWORD).text


def launched(platform: Platform, name: str) -> httpx.Response:
    """Ask as the hub does when somebody starts their own server."""
    key = (platform.state / "secrets" / "service-token").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{platform.api}/internal/launch", json={"person": name}, headers=headers, timeout=60)


def rename(server: Slapd, name: str, to: str) -> None:
    with server.administrator() as connection:
        assert connection.modify_dn(dn_of(name), f"uid={to}")


def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def told(platform: Platform, token: str) -> tuple[int, str]:
    answer = httpx.get(f"{platform.api}/me", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, "" if answer.is_success else problem(answer)


def test_without_the_directory_its_people_stay_in_and_others_are_told_why(
    platform: Platform, server: Slapd, browser: httpx.Client
) -> None:
    sign_in(browser, "alice", PASSWORD)
    server.stop()
    try:
        refused = sign_in(browser_of(platform), "boss", PASSWORD)
        assert refused.status_code == 503 and "The directory refuses the connection." in fault(refused.text)
        token = httpx.post(f"{platform.url}/hub/kqi/token", json={"username": "boss", "password": PASSWORD})
        assert (token.status_code, problem(token)) == (503, "directory_unreachable")
        assert "refuses the connection" in token.json()["detail"]
        key = (platform.state / "secrets" / "service-token").read_text().strip()
        asked = {"json": {"username": "boss", "password": PASSWORD}, "headers": {"Authorization": f"Bearer {key}"}}
        verified = httpx.post(f"{platform.url}/hub/kqi/verify", **asked)
        assert (verified.status_code, problem(verified)) == (503, "directory_unreachable")
        assert int(verified.headers["Retry-After"]) > 0 and int(token.headers["Retry-After"]) > 0
        assert "Welcome, Alice Example" in browser.get("/services/kqi/").text
        platform.add_user("local")
        with platform.browser("local") as client:
            assert "Welcome, local" in client.get("/services/kqi/").text
    finally:
        server.start()


def test_no_password_is_left_behind(platform: Platform) -> None:
    """After all of the above: not in what was logged, nor in any file but the one that the administrator made."""
    secrets = [secret.encode() for secret in (PASSWORD, NEW, slapd.SERVICE_PASSWORD)]
    said = "\n".join(platform.output).encode()
    assert not [secret for secret in secrets if secret in said]
    # What other people wrote is not looked at: a package quotes the most famous of all passwords.
    places = [place for place in platform.state.iterdir() if place.name not in {"environments", "proxy"}]
    for path in [path for place in places for path in (place, *place.rglob("*"))]:
        if path.is_file() and not path.is_symlink() and path.name != "service-password":
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path
