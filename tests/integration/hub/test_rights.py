"""What the hub lets people do: their own servers, and nothing that the platform would not know of."""

from datetime import UTC, datetime

import httpx
import pytest
from jupyterhub.utils import hash_token

from tests import database
from tests.integration.hub.test_servers import ended, hub_headers, opened, server_part, servers
from tests.platform import PASSWORD, Platform

pytestmark = pytest.mark.timeout(180)
BY_HAND = "0123456789abcdef0123456789abcdef"


def test_an_administrator_reaches_into_no_server_of_others(hub_platform: Platform) -> None:
    hub_platform.add_user("chief", "--admin")
    with hub_platform.client("alice") as client, hub_platform.browser("chief") as chief:
        run = opened(client)
        base = httpx.URL(run["url"]).path.split("/lab")[0].rstrip("/")
        place = f"/hub/api/users/alice{server_part(base)}"
        headers = hub_headers(chief)
        assert chief.get(run["url"]).status_code == chief.get(f"{base}/api/status").status_code == 403
        assert chief.get(f"/hub/spawn/alice/{base.rpartition('/')[2]}").status_code in {403, 404}
        assert chief.get("/hub/admin").status_code == chief.get("/hub/api/users", headers=headers).status_code == 403
        for method, path in (
            ("GET", "/hub/api/users/alice"),
            ("PATCH", "/hub/api/users/chief"),
            ("POST", place),
            ("DELETE", place),
            ("POST", "/hub/api/users/alice/tokens"),
            ("POST", "/hub/api/shares/alice/"),
            ("POST", "/hub/api/groups/sandbox/users"),
            ("POST", "/hub/api/shutdown"),
        ):
            refused = chief.request(method, path, json={"admin": True}, headers=headers)
            assert refused.status_code in {403, 404}, (method, path, refused.text)
        assert chief.get("/services/kqi/api/v1/me").json()["administrator"] is True
        assert ended(client, run["id"]) in {"completed", "canceled"}


def test_who_was_an_administrator_of_the_hub_is_none_once_it_has_started() -> None:
    with Platform(environment=False) as old:
        old.add_user("chief", "--admin")
        old.token("chief")
        old.stop()
        was = (
            "update users set admin = true where name = 'chief'",
            "insert into user_role_map (user_id, role_id, managed_by_auth)"
            " select users.id, roles.id, false from users, roles where users.name = 'chief' and roles.name = 'admin'",
        )
        database.execute(old.state, old.database, *was, hub=True)
        old.start()
        rows = "select count(*) from user_role_map join roles on roles.id = role_id where roles.name = 'admin'"
        assert database.execute(old.state, old.database, rows, hub=True) == [(0,)]
        assert "does not include" not in old.said()


def test_the_hub_makes_no_tokens(hub_platform: Platform) -> None:
    place = "/hub/api/users/alice/tokens"
    with hub_platform.browser("alice") as alice:
        assert alice.post(place, json={}, headers=hub_headers(alice)).status_code == 403
        assert alice.get(place, headers=hub_headers(alice)).status_code in {403, 404}
        assert str(alice.get("/hub/token").url.path) == "/services/kqi/"
        assert servers(alice, "alice") is not None
    for auth in ({"username": "alice", "password": PASSWORD}, {"arrived": {"name": "alice"}}, "alice", None):
        answer = httpx.post(f"{hub_platform.url}{place}", json={"auth": auth})
        assert answer.status_code == 403, answer.text
    assert "Error authenticating" not in hub_platform.said()


def test_a_password_is_not_asked_for_where_attempts_are_not_counted() -> None:
    with Platform(environment=False, KQI_HUB__SIGN_IN__ATTEMPTS="3") as small:
        small.add_user("alice")
        small.token("alice")
        for _ in range(5):
            auth = {"username": "alice", "password": "wrong"}
            httpx.post(f"{small.url}/hub/api/users/alice/tokens", json={"auth": auth})
        small.token("alice")  # nobody has locked it


def test_with_their_sessions_somebodys_tokens_of_old_end_and_their_server_goes_on(hub_platform: Platform) -> None:
    hub_platform.add_user("warden", "--admin")
    with hub_platform.client("bob") as client, hub_platform.client("warden") as warden:
        run = opened(client)
        for note, secret in (("mine", BY_HAND), (note_of(run), BY_HAND[::-1])):
            keep_by_hand(hub_platform, "bob", note, secret)
            assert who(hub_platform, secret) == 200
        assert warden.delete("/admin/people/bob/sessions").json()["ended"] >= 2
        assert [who(hub_platform, secret) for secret in (BY_HAND, BY_HAND[::-1])] == [403, 403]
        rows = f"select count(*) from api_tokens where note = '{note_of(run)}'"
        assert database.execute(hub_platform.state, hub_platform.database, rows, hub=True) == [(1,)]
    with hub_platform.client("bob") as client, hub_platform.browser("bob") as bob:
        assert "JupyterLab" in bob.get(run["url"]).text
        assert ended(client, run["id"]) in {"completed", "canceled"}


def note_of(run: dict[str, str]) -> str:
    """Return what the hub notes of the token of this run's server."""
    return f"Server at {httpx.URL(run['url']).path.split('/lab')[0].rstrip('/')}/"


def keep_by_hand(platform: Platform, name: str, note: str, secret: str) -> None:
    """Let the hub have a token that somebody has made at its page, as they could in an earlier version."""
    hashed = hash_token(secret, rounds=1, salt=8, algorithm="sha512")
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    insert = (
        "insert into api_tokens (user_id, hashed, prefix, client_id, note, scopes, created)"
        f" select id, '{hashed}', '{secret[:4]}', 'jupyterhub', '{note}', '[\"inherit\"]', '{made}'"
        f" from users where name = '{name}'"
    )
    database.execute(platform.state, platform.database, insert, hub=True)


def who(platform: Platform, secret: str) -> int:
    return httpx.get(f"{platform.url}/hub/api/user", headers={"Authorization": f"token {secret}"}).status_code
