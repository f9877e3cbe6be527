"""The directory against a real 389 Directory Server: who is let in, who is told what, and how passwords change."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.ldap.wire import Away, Cause
from kqi_spawner.workload import Secret
from tests.directories import ds389
from tests.directories.conftest import Open
from tests.directories.ds389 import PASSWORD, Ds389, dn_of
from tests.integration.directory.conftest import check
from tests.pki import Authority

RIGHT, WRONG, NEW = Secret(PASSWORD), Secret("wrong horse battery"), Secret("another horse battery")
LONG_AGO = "20200101000000Z"
STAFF = f"cn=staff,{ds389.GROUPS}"
DATED = {"passwordExp": "on", "passwordMaxAge": "864000"}


@pytest.fixture(scope="module")
def server(ds389: Ds389) -> Ds389:
    alice = ds389.person("alice", displayName="Alice Liddell")
    ds389.group("staff", ds389.group("students", alice))
    ds389.group("others", ds389.person("bob"))
    return ds389


def block(server: Ds389, **more: Any) -> dict[str, Any]:
    """Return the traits that README shows for it, over ldaps."""
    return {
        "server_address": "localhost",
        "server_port": server.tls_port,
        "tls_strategy": "on_connect",
        "ca_file": str(server.ca_file),
        "lookup_dn": True,
        "lookup_dn_search_user": ds389.SERVICE,
        "lookup_dn_search_password": ds389.SERVICE_PASSWORD,
        "user_search_base": ds389.PEOPLE,
        "user_attribute": "uid",
        "look_up_cache_s": 0.0,
        **more,
    }


def template(server: Ds389, **more: Any) -> dict[str, Any]:
    """Return traits without an account that searches."""
    kept = {name: value for name, value in block(server).items() if not name.startswith("lookup_dn")}
    return {**kept, "bind_dn_template": f"uid={{username}},{ds389.PEOPLE}", **more}


def starttls(server: Ds389) -> dict[str, Any]:
    return block(server, server_port=server.port, tls_strategy="before_bind")


@pytest.mark.parametrize("make", [block, starttls, template], ids=["ldaps", "starttls", "template"])
async def test_who_has_the_password_is_let_in_as_the_directory_knows_them(
    server: Ds389, open_directory: Open, make: Any
) -> None:
    directory = open_directory(make(server))
    found = await directory.verify("alice", RIGHT)
    assert isinstance(found, Entry)
    assert (found.name, found.display_name, found.email) == ("alice", "Alice Liddell", "alice@example.org")
    unique = server.read(dn_of("alice"), "entryUUID")["entryUUID"][0].decode()
    assert (found.dn, found.directory_id) == (dn_of("alice"), f"entryuuid:{unique}")
    # What may be read of groups is nothing to who searches for themselves: these rights are the service's.
    groups = set() if make is template else {("students", True), ("staff", False)}
    assert {(group.name, group.direct) for group in found.groups} == groups
    for name, password in (("alice", WRONG), ("nobody", RIGHT), ("bob", WRONG), ("alice", Secret(""))):
        assert await directory.verify(name, password) == Refused(why=Refusal.WRONG)


@pytest.mark.parametrize("make", [block, starttls], ids=["ldaps", "starttls"])
async def test_a_server_that_nobody_vouches_for_is_told_no_password(
    server: Ds389, open_directory: Open, tmp_path: Path, make: Any
) -> None:
    for ca_file in ("", str(Authority(tmp_path / "another").certificate)):
        with pytest.raises(Away) as caught:
            await open_directory({**make(server), "ca_file": ca_file}).verify("alice", RIGHT)
        assert caught.value.cause is Cause.CERTIFICATE


async def test_member_of_holds_the_groups_above_as_well(server: Ds389, open_directory: Open) -> None:
    directory = open_directory(block(server, use_member_of=True, nested_groups="no", allowed_groups=[STAFF]))
    alice = await directory.verify("alice", RIGHT)
    assert isinstance(alice, Entry) and {group.name for group in alice.groups} == {"students", "staff"}
    assert await directory.verify("bob", RIGHT) == Refused(why=Refusal.NOT_ALLOWED)


async def test_who_is_switched_off_is_out_and_nobody_learns_of_it(server: Ds389, open_directory: Open) -> None:
    """The server says so before it looks at the password: to pass it on would tell anybody who there is."""
    server.person("off")
    directory = open_directory(block(server))
    assert await directory.look_up("off")
    server.change(dn_of("off"), nsAccountLock="true")
    for password in (RIGHT, WRONG):
        assert await directory.verify("off", password) == Refused(why=Refusal.WRONG)
    assert await directory.change_password("off", RIGHT, NEW) is PasswordFault.WRONG_OLD
    assert await directory.look_up("off") is None


async def test_too_many_wrong_ones_lock(server: Ds389, open_directory: Open) -> None:
    rules = {"passwordLockout": "on", "passwordMaxFailure": "2", "passwordLockoutDuration": "3600"}
    server.person("lost", **server.policy("locking", **rules))
    directory = open_directory(block(server))
    for _ in range(2):
        assert await directory.verify("lost", WRONG) == Refused(why=Refusal.WRONG)
    assert await directory.verify("lost", RIGHT) == Refused(why=Refusal.LOCKED)
    assert await directory.change_password("lost", RIGHT, NEW) is PasswordFault.LOCKED


@pytest.mark.parametrize("make", [block, template], ids=["search", "template"])
async def test_a_password_that_must_be_changed_is_changed_and_then_good(
    server: Ds389, open_directory: Open, make: Any
) -> None:
    name = f"fresh-{make.__name__}"
    server.person(name, **server.policy(name, passwordMustChange="on"))
    directory = open_directory(make(server))
    first = await directory.verify(name, RIGHT)
    assert isinstance(first, Entry) and first.must_change
    assert await directory.verify(name, WRONG) == Refused(why=Refusal.WRONG)
    assert await directory.change_password(name, WRONG, NEW) is PasswordFault.WRONG_OLD
    assert await directory.change_password(name, RIGHT, NEW) is None
    after = await directory.verify(name, NEW)
    assert isinstance(after, Entry) and not after.must_change and after.directory_id
    assert await directory.verify(name, RIGHT) == Refused(why=Refusal.WRONG)


async def test_a_new_password_obeys_the_rules_of_the_directory(server: Ds389, open_directory: Open) -> None:
    server.person("ruled")
    directory = open_directory(block(server))
    # It has one word for whatever is wrong with the letters, their number too.
    assert await directory.change_password("ruled", RIGHT, Secret("short")) is PasswordFault.QUALITY
    assert await directory.change_password("ruled", RIGHT, Secret("ruled example")) is PasswordFault.QUALITY
    assert await directory.change_password("ruled", RIGHT, RIGHT) is PasswordFault.SAME
    assert await directory.change_password("ruled", RIGHT, NEW) is None
    assert await directory.change_password("ruled", NEW, RIGHT) is PasswordFault.IN_HISTORY


async def test_a_change_may_come_too_soon(server: Ds389, open_directory: Open) -> None:
    server.person("young", **server.policy("slow", passwordMinAge="86400"))
    directory = open_directory(block(server))
    assert await directory.change_password("young", RIGHT, NEW) is PasswordFault.TOO_SOON


async def test_who_may_not_change_a_password_is_told_so(server: Ds389, open_directory: Open) -> None:
    server.person("fixed", **server.policy("fixed", passwordChange="off"))
    change = await open_directory(block(server)).change_password("fixed", RIGHT, NEW)
    assert change is PasswordFault.NOT_ALLOWED


async def test_an_expired_password_lets_nobody_in_but_who_has_it_is_told(server: Ds389, open_directory: Open) -> None:
    server.person("late", **server.policy("dated", **DATED))
    server.change(dn_of("late"), passwordExpirationTime=LONG_AGO)
    directory = open_directory(block(server))
    assert await directory.verify("late", RIGHT) == Refused(why=Refusal.EXPIRED)
    assert await directory.verify("late", WRONG) == Refused(why=Refusal.WRONG)
    assert await directory.change_password("late", RIGHT, NEW) is PasswordFault.NOT_ALLOWED


async def test_sign_ins_that_are_left_are_counted_and_do_for_a_change(server: Ds389, open_directory: Open) -> None:
    server.person("grace", **server.policy("grace", **DATED, passwordGraceLimit="3"))
    server.change(dn_of("grace"), passwordExpirationTime=LONG_AGO)
    directory = open_directory(block(server))
    for left in (2, 1):
        found = await directory.verify("grace", RIGHT)
        assert isinstance(found, Entry) and found.grace_left == left and not found.must_change
    assert await directory.change_password("grace", RIGHT, NEW) is None
    after = await directory.verify("grace", NEW)
    assert isinstance(after, Entry) and after.grace_left is None


async def test_a_password_that_ends_soon_is_warned_of(server: Ds389, open_directory: Open) -> None:
    server.person("soon", **server.policy("warned", **DATED, passwordWarning="172800"))
    ends = datetime.now(UTC) + timedelta(days=1)
    server.change(dn_of("soon"), passwordExpirationTime=ends.strftime("%Y%m%d%H%M%SZ"))
    for _ in range(2):  # the first time it writes down that it has warned
        soon = await open_directory(block(server)).verify("soon", RIGHT)
        assert isinstance(soon, Entry) and soon.expires_at and not soon.must_change
        assert timedelta(0) < soon.expires_at - datetime.now(UTC) <= timedelta(days=2)


def test_check_config_explains_what_the_directory_answers(server: Ds389, tmp_path: Path) -> None:
    ended, said = check(tmp_path, "alice", block(server, admin_groups=[STAFF]))
    assert ended == 0, said
    for sentence in (f"searches as {ds389.SERVICE}", "entryuuid:", "by way of another group", "administers"):
        assert sentence in said
