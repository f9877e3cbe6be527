"""SSH keys: taken strictly, shown with their fingerprint, fetched from git servers, told to the gateway."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from kqi_hub.identity.rows import PersonRow
from kqi_hub.testing.service import SERVICE_TOKEN, Running
from tests.integration.api.caller import Caller
from tests.servers.https import HttpsServer, Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")


def made(folder: Path, kind: str = "ed25519", bits: int = 0) -> tuple[str, str]:
    """Return the line of a new public key, and its fingerprint as OpenSSH says it."""
    file = folder / f"{kind}-{bits}-{len(list(folder.iterdir()))}"
    size = ["-b", str(bits)] if bits else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "alice@laptop", "-f", file], check=True)
    public = file.with_suffix(".pub")
    shown = subprocess.run(["ssh-keygen", "-lf", public], check=True, capture_output=True, text=True).stdout
    return public.read_text(), shown.split()[1]


@pytest.mark.parametrize(("kind", "bits"), [("ed25519", 0), ("rsa", 3072), ("ecdsa", 256), ("ecdsa", 384)])
async def test_keys_are_added_listed_and_removed(alice: Caller, tmp_path: Path, kind: str, bits: int) -> None:
    line, fingerprint = made(tmp_path, kind, bits)
    added = await alice.post("/ssh-keys", {"key": line})
    assert (added["fingerprint"], added["comment"], added["last_used_at"]) == (fingerprint, "alice@laptop", None)
    assert (await alice.post("/ssh-keys", {"key": line}, 409))["code"] == "ssh_key_known"
    assert (await alice.get("/ssh-keys"))["items"] == [added]
    await alice.delete(f"/ssh-keys/{added['id']}")
    assert (await alice.get("/ssh-keys"))["items"] == []


async def test_keys_of_others_do_not_exist(alice: Caller, stranger: Caller, tmp_path: Path) -> None:
    added = await alice.post("/ssh-keys", {"key": made(tmp_path)[0]})
    await stranger.delete(f"/ssh-keys/{added['id']}", 404)
    assert (await stranger.get("/ssh-keys"))["items"] == []


async def test_what_is_no_good_key_is_refused_with_the_reason(alice: Caller, tmp_path: Path) -> None:
    good, _ = made(tmp_path)
    weak, _ = made(tmp_path, "rsa", 1024)
    kind, encoded, _ = good.split()
    private = next(path for path in tmp_path.iterdir() if path.suffix != ".pub").read_text()
    refused = {
        weak: "ssh_key_weak",
        private: "ssh_key_private",
        f'command="id" {good}': "ssh_key_options",
        f'no-pty,from="10.0.0.1" {good}': "ssh_key_options",
        f"restrict {good}": "ssh_key_options",
        f"{good}\n{good}": "ssh_key_one_line",
        f'{good}\ncommand="id" {good}': "ssh_key_one_line",
        "": "ssh_key_one_line",
        "hello": "ssh_key_not_valid",
        f"{kind} {encoded[:-8]}": "ssh_key_not_valid",
        f"{kind} {encoded}AAAA": "ssh_key_not_valid",
        f"{kind} not-base64!": "ssh_key_not_valid",
        f"ssh-rsa {encoded}": "ssh_key_not_valid",
        "ssh-dss AAAAB3NzaC1kc3M=": "ssh_key_kind",
        f"{kind}-cert-v01@openssh.com {encoded}": "ssh_key_kind",
        f"sk-ssh-ed25519@openssh.com {encoded}": "ssh_key_not_valid",
    }
    for text, code in refused.items():
        assert (await alice.post("/ssh-keys", {"key": text}, 422))["code"] == code, text
    assert (await alice.get("/ssh-keys"))["items"] == []


async def test_keys_are_taken_over_from_a_git_server(alice: Caller, outside: HttpsServer, tmp_path: Path) -> None:
    first, second, weak = made(tmp_path), made(tmp_path), made(tmp_path, "rsa", 1024)
    outside.replies["/octo.keys"] = Reply(body=(first[0] + second[0] + weak[0] + "\nnonsense\n").encode())
    await alice.post("/ssh-keys", {"key": first[0]})
    asked = {"server": "own", "account": "octo"}
    found = await alice.post("/ssh-keys/import", asked, 200)
    assert [key["fingerprint"] for key in found["added"]] == [second[1]]
    assert found["known"] == 1 and sorted(found["refused"].values()) == ["ssh_key_not_valid", "ssh_key_weak"]
    assert (await alice.post("/ssh-keys/import", asked, 200))["added"] == []
    await alice.post("/ssh-keys/import", {"server": "own", "account": "nobody"}, 404)
    assert (await alice.post("/ssh-keys/import", {"server": "x", "account": "a"}, 422))["code"] == "key_server_unknown"
    for name in ("../admin", "a/b", "a?b", "", "."):
        await alice.post("/ssh-keys/import", {"server": "own", "account": name}, 422)
    outside.replies["/huge.keys"] = Reply(body=b"x" * 1_000_000)
    outside.replies["/away.keys"] = Reply(status=302, headers={"Location": f"{outside.url}/octo.keys"})
    huge = await alice.post("/ssh-keys/import", {"server": "own", "account": "huge"}, 422)
    assert huge["code"] == "outbound_failed"
    await alice.post("/ssh-keys/import", {"server": "own", "account": "away"}, 404)


async def test_the_gateway_is_told_who_comes_in_by_which_keys(service: Running, alice: Caller, tmp_path: Path) -> None:
    line, fingerprint = made(tmp_path)
    added = await alice.post("/ssh-keys", {"key": line})
    await alice.get("/internal/ssh-keys", 401, params={"person": alice.name})
    gateway = httpx.AsyncClient(
        base_url=alice.client.base_url, headers={"Authorization": f"Bearer {SERVICE_TOKEN}"}, timeout=60
    )

    async def keys() -> Any:
        return (await gateway.get("/internal/ssh-keys", params={"person": alice.name})).json()["items"]

    assert [(key["fingerprint"], key["key"]) for key in await keys()] == [(fingerprint, " ".join(line.split()[:2]))]
    used = await gateway.post(f"/internal/ssh-keys/{added['id']}/used", json={"address": "192.0.2.7"})
    assert used.status_code == 204
    listed = (await alice.get("/ssh-keys"))["items"][0]
    assert listed["last_used_at"] and listed["last_used_from"] == "192.0.2.7"
    async with service.database.write() as session:
        await session.execute(update(PersonRow).where(PersonRow.name == alice.name).values(disabled=True))
    assert await keys() == []
    await gateway.aclose()
