"""The unprivileged account that workloads run as when the platform is root."""

import pwd
import subprocess

from kqi_spawner.errors import BackendError


def ensure_account(name: str = "kqi") -> tuple[int, int]:
    """Return uid and gid of the account `name`, made as a system account if it is missing (needs root). Blocks."""
    found = _find(name)
    if found is None:
        _create(name)
        found = _find(name)
    if found is None or found[0] == 0:
        raise BackendError(f"the account {name!r} is missing or is root, and could not be made")
    return found


def _find(name: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def _create(name: str) -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", name]
    try:
        # Another process may make it at the same moment: what counts is that it exists afterwards.
        subprocess.run(command, check=False, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise BackendError(f"useradd {name}: {cause}") from cause
