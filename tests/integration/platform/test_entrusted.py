"""Marked secrets that people entrust to the platform go through all of it, and are found nowhere in clear."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.platform import Platform, form_token, wait_for
from tests.processes import shown
from tests.servers.git import GitServer
from tests.servers.https import HttpsServer, Reply

# Nothing else can hold these letters.
PASSWORD, NEXT_PASSWORD = "canary-of-a-password-2f90", "canary-of-the-next-password-88ab"
GIT_TOKEN, WRONG_TOKEN = "canary-of-a-git-token-c41d", "canary-of-a-wrong-token-e07f"
REGISTRY_PASSWORD, PRIVATE_KEY = "canary-of-a-registry-6b3e", "canary-of-a-private-key-19c5"
HOOK, BROKEN_HOOK = "canary-of-a-hook-7d52", "canary-of-a-broken-hook-04e8"
CANARY = re.compile(rb"canary-of-[a-z0-9-]+")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="kqi-outside-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.timeout(900)
def test_what_is_entrusted_is_found_nowhere(folder: Path) -> None:
    with GitServer(folder, "alice", GIT_TOKEN) as git, HttpsServer(folder / "hooks", git.authority) as hooks:
        own = Platform(
            KQI_HUB__OUTBOUND__CA_FILE=str(git.authority.certificate),
            KQI_HUB__OUTBOUND__PRIVATE_NETWORKS='["127.0.0.1/32", "::1/128"]',
        )
        seen: dict[str, bytes] = {}
        git.meanwhile = lambda: seen.update(shown())
        hooks.replies[f"/{HOOK}"], hooks.replies[f"/{BROKEN_HOOK}"] = Reply(), Reply(status=500)
        with own:
            own.command("user", "add", "alice", "--password-stdin", text=PASSWORD + "\n")
            tokens = _entrust(own, git, hooks)
            tokens += _work(own, git, hooks, tokens[-1], seen)
            own.command("rotate-keys")
        secrets = [CANARY, *(re.compile(re.escape(token.encode())) for token in tokens)]
        for path in _files(own.state):
            assert not _found(path.read_bytes(), secrets), path
        assert not _found("\n".join(own.output).encode(), secrets)
        assert seen and not [place for place, text in seen.items() if _found(text, [CANARY])]


def _entrust(own: Platform, git: GitServer, hooks: HttpsServer) -> list[str]:
    """Sign in, change the password, leave secrets behind, and meet refusals; return the tokens that there were."""
    with own.browser("alice", PASSWORD) as browser:
        page = browser.get("/hub/kqi/password")
        form = {"_xsrf": form_token(page.text), "old": PASSWORD, "new": NEXT_PASSWORD, "again": NEXT_PASSWORD}
        assert browser.post("/hub/kqi/password", data=form).status_code == 200
    login = {"username": "alice", "password": NEXT_PASSWORD, "name": "canary"}
    assert httpx.post(f"{own.url}/hub/kqi/token", json={**login, "password": PASSWORD}).status_code == 401
    first = httpx.post(f"{own.url}/hub/kqi/token", json=login).json()["token"]
    with _client(own, first) as client:
        once = {"Idempotency-Key": "made-once"}
        second = client.post("/tokens", json={"name": "ci", "capabilities": ["data.read"]}, headers=once)
        again = client.post("/tokens", json={"name": "ci", "capabilities": ["data.read"]}, headers=once)
        assert again.json() == second.json()
        registry = {"server": "registry.example.org", "username": "alice", "secret": REGISTRY_PASSWORD}
        answers = [
            client.put("/credentials/registry", json=registry),
            client.put("/credentials/registry", json={**registry, "server": f"a b {GIT_TOKEN}"[:3]}),
            client.put("/credentials/git", json={"server": git.url, "username": "alice", "secret": WRONG_TOKEN}),
            client.post("/ssh-keys", json={"key": f"-----BEGIN PRIVATE KEY-----\n{PRIVATE_KEY}"}),
            client.post("/trainings", json={"command": "true", "source": _source(git)}),
            client.put("/credentials/git", json={"server": git.url, "username": "alice", "secret": GIT_TOKEN}),
            client.get("/credentials"),
        ]
        for path in (HOOK, BROKEN_HOOK):
            target = {"kind": "webhook", "name": path[-4:], "address": f"{hooks.url}/{path}"}
            made = client.post("/notifications", json={**target, "events": ["completed", "killed"]})
            answers.append(made)
            answers.append(client.post(f"/notifications/{made.json()['target']['id']}/test"))
        assert [answer.status_code for answer in answers] == [200, 422, 200, 422, 422, 200, 200, 201, 200, 201, 422]
        assert not [answer.text for answer in answers if _found(answer.content, [CANARY])]
    return [second.json()["token"], first]


def _work(own: Platform, git: GitServer, hooks: HttpsServer, token: str, seen: dict[str, bytes]) -> list[str]:
    """Clone, fetch and push by what was entrusted, while everybody's words and variables are looked at."""
    with _client(own, token) as client:
        command = (
            "set -e; export GIT_SSL_CAINFO=$PWD/ca.pem; cat > ca.pem <<'END'\n"
            + git.authority.certificate.read_text()
            + "END\n"
            "git fetch -q origin main; git push -q origin HEAD:refs/heads/from-a-run\n"
            'test -z "$(cat .git/config | grep canary)"; sleep 600'
        )
        small = {"cpu": 1, "memory_gb": 0.5}
        run = client.post("/trainings", json={"command": command, "source": _source(git), "resources": small}).json()
        place = f"/trainings/{run['id']}"
        wait_for(client, place, "running", "failed")
        while "from-a-run" not in git.heads():
            assert client.get(place).json()["phase"] == "running", client.get(f"{place}/log").text
            git.wait(len(git.received) + 1, 300)
        run_token = _variable(b"KQI_TOKEN", shown())
        seen.update({name: text for name, text in shown().items() if name.endswith("cmdline")})
        assert not [name for name, text in seen.items() if name.endswith("cmdline") and run_token in text]
        notebook = client.post("/notebooks", json={"title": "look", "resources": small, "image": "nothing"}).json()
        assert wait_for(client, f"/notebooks/{notebook['id']}", "failed")["reason"]
        client.post(f"{place}/stop", json={"mode": "kill"}).raise_for_status()
        wait_for(client, place, "killed")
        while not {f"/{HOOK}", f"/{BROKEN_HOOK}"} <= {
            request.path for request in hooks.received if b'"run.ended"' in request.body
        }:
            hooks.wait(len(hooks.received) + 1)
    return [run_token.decode()]


def _files(state: Path) -> Iterator[Path]:
    """Yield all but the programs, which were made before."""
    programs = {state / "environments", state / "proxy"}
    for folder, folders, names in os.walk(state):
        folders[:] = [name for name in folders if Path(folder, name) not in programs]
        yield from (path for name in names if not (path := Path(folder, name)).is_symlink() and path.is_file())


def _source(git: GitServer) -> dict[str, str]:
    return {"kind": "git", "url": f"{git.url}/private.git"}


def _client(own: Platform, token: str) -> httpx.Client:
    return httpx.Client(base_url=own.api, headers={"Authorization": f"Bearer {token}"}, timeout=90)


def _found(content: bytes, secrets: "list[re.Pattern[bytes]]") -> list[bytes]:
    return [found.group() for secret in secrets if (found := secret.search(content))]


def _variable(name: bytes, seen: dict[str, bytes]) -> bytes:
    for place, text in seen.items():
        for part in text.split(b"\0"):
            if place.endswith("environ") and part.startswith(name + b"="):
                return part.partition(b"=")[2]
    raise AssertionError("no process has it")
