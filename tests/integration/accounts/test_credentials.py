"""What opens git servers for a person is used for exactly that host, and seen nowhere."""

from pathlib import Path

import httpx
import pytest

from kqi_hub.accounts.rows import CredentialRow
from kqi_hub.testing.service import Running
from kqi_hub.vault import Vault
from tests.integration.accounts.conftest import GIT_TOKEN
from tests.integration.api.caller import Caller
from tests.processes import shown
from tests.servers.git import GitServer
from tests.servers.https import HttpsServer, Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def keep(caller: Caller, server: GitServer, secret: str = GIT_TOKEN) -> dict[str, object]:
    body = {"server": server.url, "username": "alice", "secret": secret}
    kept: dict[str, object] = await caller.put("/credentials/git", body)
    return kept


async def test_a_private_repository_is_cloned_by_who_has_a_token_for_its_server(
    service: Running, alice: Caller, stranger: Caller, git_server: GitServer
) -> None:
    kept = await keep(alice, git_server)
    assert kept["server"] == f"localhost:{git_server.port}" and kept["last_used_at"] is None
    source = {"kind": "git", "url": f"{git_server.url}/private.git"}
    refused = await stranger.post("/trainings", {"command": "true", "source": source}, 422)
    assert refused["code"] == "git_failed"
    run = await alice.train("cat code.py; cat .git/config; env", source=source)
    assert (await alice.ended(run["id"]))["phase"] == "completed"
    said = await alice.log(run["id"])
    assert "from a private repository" in said
    assert GIT_TOKEN not in said and git_server.url in said
    assert run["source"]["commit"] == git_server.commit
    assert (await alice.get("/credentials"))["items"][0]["last_used_at"]
    for file in Path(service.settings.state).rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert GIT_TOKEN.encode() not in file.read_bytes(), file


async def test_a_wrong_token_is_told_without_it(alice: Caller, git_server: GitServer) -> None:
    await keep(alice, git_server, "canary-of-a-wrong-token")
    source = {"kind": "git", "url": f"{git_server.url}/private.git"}
    refused = await alice.post("/trainings", {"command": "true", "source": source}, 422)
    assert refused["code"] == "git_failed" and "canary" not in str(refused)


async def test_a_token_is_for_its_host_alone(alice: Caller, git_server: GitServer, outside: HttpsServer) -> None:
    await keep(alice, git_server)
    outside.replies["/private.git/info/refs?service=git-upload-pack"] = Reply(
        status=401, headers={"WWW-Authenticate": 'Basic realm="mine"'}
    )
    before = len(outside.received)
    source = {"kind": "git", "url": f"{outside.url}/private.git"}
    await alice.post("/trainings", {"command": "true", "source": source}, 422)
    # Also not for one that sends git on to somewhere else.
    outside.replies["/away.git/info/refs?service=git-upload-pack"] = Reply(
        status=302, headers={"Location": f"{git_server.url}/private.git/info/refs?service=git-upload-pack"}
    )
    for host in (f"localhost:{outside.port}", "localhost", "github.com", f"127.0.0.1:{git_server.port}"):
        await alice.post("/git-credential", {"protocol": "https", "host": host}, 404)
    await alice.post("/git-credential", {"protocol": "http", "host": f"localhost:{git_server.port}"}, 404)
    seen = outside.received[before:]
    assert seen and not any("authorization" in request.headers for request in seen)


async def test_git_is_answered_by_who_may_submit(alice: Caller, stranger: Caller, git_server: GitServer) -> None:
    await keep(alice, git_server)
    asked = {"protocol": "https", "host": f"localhost:{git_server.port}"}
    assert await alice.post("/git-credential", asked, 200) == {"username": "alice", "password": GIT_TOKEN}
    await stranger.post("/git-credential", asked, 404)
    made = await alice.post("/tokens", {"name": "reader", "capabilities": ["data.read"]})
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with httpx.AsyncClient(base_url=alice.client.base_url, headers=headers, timeout=60) as reader:
        assert (await reader.post("/git-credential", json=asked)).status_code == 403


async def test_credentials_are_listed_without_their_secrets_replaced_and_removed(
    service: Running, alice: Caller, stranger: Caller
) -> None:
    first = await alice.put("/credentials/registry", {"server": "Registry.example.org", "username": "a", "secret": "1"})
    second = await alice.put(
        "/credentials/registry", {"server": "https://registry.example.org/v2/", "username": "b", "secret": "canary-2"}
    )
    assert first["id"] == second["id"] and second["username"] == "b"
    listed = await alice.get("/credentials")
    assert listed["items"] == [second] and "canary" not in str(listed)
    async with service.database.read() as session:
        row = await session.get_one(CredentialRow, second["id"])
    assert "canary" not in row.secret and Vault.of(service.settings).open(row.secret).reveal() == "canary-2"
    await stranger.delete(f"/credentials/{second['id']}", 404)
    await alice.delete(f"/credentials/{second['id']}")
    assert (await alice.get("/credentials"))["items"] == []


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("git", {"server": "http://git.example.org", "secret": "x"}, "credential_plain_http"),
        ("git", {"server": "git example", "secret": "x"}, "credential_server_not_valid"),
        ("git", {"server": "*.example.org", "secret": "x"}, "credential_server_not_valid"),
        ("git", {"server": "git.example.org:99999", "secret": "x"}, "credential_server_not_valid"),
        ("git", {"server": "ssh://git.example.org", "secret": "x"}, "credential_server_not_valid"),
        ("git", {"server": "git.example.org", "secret": "x\npassword=y"}, "credential_not_valid"),
        ("git", {"server": "git.example.org", "secret": ""}, "invalid_request"),
        ("registry", {"server": "registry.example.org", "secret": "x"}, "registry_user_missing"),
    ],
)
async def test_what_cannot_be_a_credential_is_refused(
    alice: Caller, kind: str, body: dict[str, str], code: str
) -> None:
    assert (await alice.put(f"/credentials/{kind}", body, 422))["code"] == code


async def test_the_secret_is_in_no_word_or_variable_of_git_at_work(alice: Caller, git_server: GitServer) -> None:
    seen: dict[str, bytes] = {}
    await keep(alice, git_server)
    git_server.meanwhile = lambda: seen.update(shown())
    source = {"kind": "git", "url": f"{git_server.url}/private.git"}
    run = await alice.train("true", source=source)
    await alice.ended(run["id"])
    git_server.meanwhile = lambda: None
    assert any(b"remote-https" in text for text in seen.values())
    assert not [place for place, text in seen.items() if GIT_TOKEN.encode() in text]
