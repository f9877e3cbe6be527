"""Secrets that went through the platform are found nowhere afterwards: not in its files, its log or its processes."""

import os
from pathlib import Path

import httpx

from tests.platform import Platform, wait_for

# Nothing else can hold these letters.
PASSWORD = "canary-of-a-password-93f1"
NEXT_PASSWORD = "canary-of-the-next-password-7c22"


def test_passwords_and_tokens_leave_no_trace() -> None:
    with Platform(environment=False) as own:
        own.command("image", "add", "default", "--python", "/usr/bin/python3")
        own.command("user", "add", "alice", "--password-stdin", text=PASSWORD + "\n")
        login = {"username": "alice", "password": PASSWORD, "name": "canary"}
        token = httpx.post(f"{own.url}/hub/kqi/token", json=login).json()["token"]
        wrong = httpx.post(f"{own.url}/hub/kqi/token", json={**login, "password": NEXT_PASSWORD})
        assert wrong.status_code == 401 and NEXT_PASSWORD not in wrong.text
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=own.api, headers=headers, timeout=60) as client:
            run = client.post("/trainings", json={"command": "echo $KQI_TOKEN; sleep 600"}).json()
            place = f"/trainings/{run['id']}"
            wait_for(client, place, "running")
            with client.stream("GET", f"{place}/log", params={"follow": True}) as log:
                run_token = next(log.iter_lines())
            assert len(run_token) > 40
            secrets = [text.encode() for text in (PASSWORD, NEXT_PASSWORD, token, run_token)]
            others = {pid: text for pid, text in _shown() if any(secret in text for secret in secrets)}
            assert others == {}
            client.post(f"{place}/stop", json={"mode": "kill"}).raise_for_status()
            wait_for(client, place, "killed")
            assert httpx.get(f"{own.api}/me", headers={"Authorization": f"Bearer {run_token}"}).status_code == 401
            again = client.get(f"{place}/log")
            assert run_token in again.text  # what a person prints is theirs
        client_log = next((own.state / "store" / "runs").rglob("*_stdout_stderr_*.log"))
        for path in own.state.rglob("*"):
            if path.is_file() and not path.is_symlink() and path != client_log:
                content = path.read_bytes()
                assert not [secret for secret in secrets if secret in content], path
        said = "\n".join(own.output).encode()
        assert not [secret for secret in secrets if secret in said]


def _shown() -> list[tuple[int, bytes]]:
    """Return what `ps` shows of every process to everybody: its words."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                found.append((int(folder.name), (folder / "cmdline").read_bytes()))
            except OSError:
                continue
    return found
