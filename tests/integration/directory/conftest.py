"""A real slapd with some people, and directories of the platform over it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.traits import LdapTraits
from tests import slapd
from tests.platform import PROGRAM, Platform
from tests.slapd import Slapd

Open = Callable[..., LdapDirectory]


def block(server: Slapd, **more: Any) -> dict[str, Any]:
    """Return the traits of a directory that is searched by its service account."""
    return {
        "server_address": slapd.HOST,
        "server_port": server.port,
        "ca_file": str(server.ca_file),
        "lookup_dn": True,
        "lookup_dn_search_user": slapd.SERVICE,
        "lookup_dn_search_password": slapd.SERVICE_PASSWORD,
        "user_search_base": slapd.PEOPLE,
        "user_attribute": "uid",
        "look_up_cache_s": 0.0,
        **more,
    }


def platform_over(server: Slapd, **more: Any) -> Platform:
    """Return a platform, to be started, whose directory it is."""
    return platform_with(block(server, **more))


def platform_with(traits: dict[str, Any]) -> Platform:
    """Return a platform, to be started, with these traits; the password of its account is in a file."""
    found = Platform(
        environment=False, KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE="1000", KQI_HUB__SIGN_IN__LOOK_AGAIN_S="1"
    )
    traits = dict(traits)
    password = found.state / "service-password"
    password.write_text(traits.pop("lookup_dn_search_password") + "\n")
    traits["lookup_dn_search_password_file"] = str(password)
    _write(found.state, traits)
    return found


def check(state: Path, name: str, traits: dict[str, Any]) -> tuple[int, str]:
    """Return how `kqi-hub check-config --ldap` ends, and what it says; never the password of the account."""
    _write(state, traits)
    words = [PROGRAM, "check-config", "--ldap", name, "--state", state]
    around = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=around)
    said = done.stdout + done.stderr
    secret = traits.get("lookup_dn_search_password")
    assert not secret or secret not in said
    return done.returncode, said


def _write(state: Path, traits: dict[str, Any]) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in traits.items()]
    (state / "kqi-hub.toml").write_text("\n".join(["[traits.LDAPAuthenticator]", *lines]))


@pytest.fixture
def open_directory() -> Iterator[Open]:
    """Make a directory over a server, with traits on top of the usual ones."""
    opened = []

    def make(server: Slapd, **more: Any) -> LdapDirectory:
        directory = LdapDirectory(LdapTraits(config=Config(LDAPAuthenticator=block(server, **more))))
        opened.append(directory)
        return directory

    yield make
    for directory in opened:
        directory.close()
