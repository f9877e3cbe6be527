"""`kqi-hub check-config --ldap USER` says what the directory answers, step by step, and no secret."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import slapd
from tests.integration.directory.conftest import block, check
from tests.slapd import Slapd, dn_of

WRONG = "canary-of-a-wrong-one-2b6f"


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    groups = [slapd.group("students", dn_of("alice")), slapd.group("all", f"cn=students,{slapd.GROUPS}")]
    made.load([*slapd.tree(), slapd.person("alice"), *groups])
    with made:
        yield made


def test_somebody_who_may_come_is_explained(server: Slapd, tmp_path: Path) -> None:
    code, said = check(tmp_path, "alice", block(server, admin_groups=[f"cn=all,{slapd.GROUPS}"]))
    assert code == 0
    for part in (
        *(f"Server localhost:{server.port} (StartTLS)", "certificate of localhost", "verified"),
        *(f"searches as {slapd.SERVICE}: accepted", "(uid=alice) below", "1 entries", dn_of("alice"), "entryuuid:"),
        *("2 groups below dc=example,dc=org", "students", "by way of another group", "administers the platform"),
    ):
        assert part in said, said


@pytest.mark.parametrize(
    ("name", "traits", "sentence"),
    [
        ("nobody", {}, "Not exactly one entry"),
        ("alice", {"allowed_groups": [f"cn=staff,{slapd.GROUPS}"]}, "may not sign in: Your account may not use"),
        ("alice", {"ca_file": ""}, "certificate is not trusted"),
        ("alice", {"lookup_dn_search_password": WRONG}, "does not accept the platform's own account"),
        ("alice", {"server_port": 1}, "refuses the connection"),
        ("alice", {"user_atribute": "x"}, "traits.LDAPAuthenticator.user_atribute"),
    ],
)
def test_who_may_not_and_what_fails_is_told(
    server: Slapd, tmp_path: Path, name: str, traits: dict[str, Any], sentence: str
) -> None:
    code, said = check(tmp_path, name, block(server, **traits))
    assert code == 1 and sentence in said and WRONG not in said
