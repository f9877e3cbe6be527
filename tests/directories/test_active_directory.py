"""The directory against a real domain controller: who is let in, who is told what, and how passwords change."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.ldap.wire import Away, Cause
from kqi_spawner.workload import Secret
from tests.directories import samba as ad
from tests.directories.conftest import Open
from tests.directories.samba import PASSWORD, Samba, dn_of
from tests.integration.directory.conftest import check, platform_with
from tests.integration.directory.test_platform import browser_of, change, me
from tests.pki import Authority
from tests.platform import fault, sign_in

RIGHT, WRONG, NEW = Secret(PASSWORD), Secret("Wrong horse battery 1"), Secret("Another horse battery 2")
STAFF = f"CN=staff,{ad.GROUPS}"
OWN, ABOVE = {"students", "circle", "Domain Users"}, {"staff", "Users"}
TEN_DAYS = timedelta(days=10)
LOGINS = ("EXAMPLE\\{username}", "{username}@ad.example.org")


@pytest.fixture(scope="module")
def server(samba: Samba) -> Samba:
    numbers = {"uidNumber": "10001", "gidNumber": "10000"}
    alice = samba.person("alice", displayName="Alice Liddell", mail="alice@example.org", **numbers)
    students = samba.group("students", alice)
    staff = samba.group("staff", students)
    samba.group("circle", staff, alice)
    samba.group("others", samba.person("bob"))
    return samba


def block(server: Samba, **more: Any) -> dict[str, Any]:
    """Return the traits that README shows for Active Directory."""
    return {
        "server_address": "localhost",
        "server_port": server.tls_port,
        "tls_strategy": "on_connect",
        "ca_file": str(server.ca_file),
        "lookup_dn": True,
        "lookup_dn_search_user": ad.SERVICE,
        "lookup_dn_search_password": ad.SERVICE_PASSWORD,
        "user_search_base": ad.SUFFIX,
        "user_attribute": "sAMAccountName",
        "group_search_filter": "(member={userdn})",
        "nested_groups": "matching_rule",
        "look_up_cache_s": 0.0,
        **more,
    }


def templates(server: Samba, *names: str, **more: Any) -> dict[str, Any]:
    """Return traits without an account that searches."""
    kept = {
        name: value for name, value in block(server).items() if not name.startswith(("lookup_dn", "user_search_base"))
    }
    return {**kept, "bind_dn_template": list(names), **more}


def starttls(server: Samba) -> dict[str, Any]:
    return block(server, server_port=server.port, tls_strategy="before_bind")


@pytest.mark.parametrize("way", ["ldaps", "starttls", "dn", "domain", "principal", "with an account"])
async def test_who_has_the_password_is_let_in_as_the_domain_knows_them(
    server: Samba, open_directory: Open, way: str
) -> None:
    account = {name: value for name, value in block(server).items() if name.startswith("lookup_dn_search")}
    ways = {
        "ldaps": block(server),
        "starttls": starttls(server),
        "dn": templates(server, f"CN={{username}},{ad.PEOPLE}"),
        "domain": templates(server, LOGINS[0]),
        "principal": templates(server, LOGINS[1]),
        "with an account": templates(server, *LOGINS, **account),
    }
    directory = open_directory(ways[way])
    found = await directory.verify("alice", RIGHT)
    assert isinstance(found, Entry)
    assert (found.name, found.display_name, found.email) == ("alice", "Alice Liddell", "alice@example.org")
    assert (found.uid, found.gid, found.dn) == (10001, 10000, dn_of("alice"))
    raw = server.read(dn_of("alice"), "objectGUID")["objectGUID"][0]
    assert found.directory_id == f"objectguid:{uuid.UUID(bytes_le=raw)}"
    assert {group.name for group in found.groups if group.direct} == OWN
    assert {group.name for group in found.groups if not group.direct} == ABOVE
    for name, password in (("alice", WRONG), ("nobody", RIGHT), ("bob", WRONG), ("alice", Secret(""))):
        assert await directory.verify(name, password) == Refused(why=Refusal.WRONG)
    if "lookup_dn_search_user" in ways[way]:
        seen = await directory.look_up("alice")
        assert seen and (seen.directory_id, seen.groups) == (found.directory_id, found.groups)


async def test_a_login_name_that_is_anothers_gives_nobody_their_place(server: Samba, open_directory: Open) -> None:
    """Of Mallory's two names one is Carol's: whoever binds by it is Mallory, and not Carol."""
    secret = Secret("Of Mallory alone 1")
    server.person("carol", userPrincipalName="caroline@campus.example.org")
    server.person("mallory", userPrincipalName="carol@campus.example.org", unicodePwd=ad.encoded(secret.reveal()))
    directory = open_directory(templates(server, "{username}@campus.example.org"))
    assert await directory.verify("carol", secret) == Refused(why=Refusal.WRONG)
    assert await directory.change_password("carol", secret, NEW) is PasswordFault.WRONG_OLD
    mallory = await open_directory(templates(server, LOGINS[0])).verify("mallory", secret)
    assert isinstance(mallory, Entry) and mallory.name == "mallory"


@pytest.mark.parametrize("make", [block, starttls], ids=["ldaps", "starttls"])
async def test_a_controller_that_nobody_vouches_for_is_told_no_password(
    server: Samba, open_directory: Open, tmp_path: Path, make: Any
) -> None:
    for ca_file in ("", str(Authority(tmp_path / "another").certificate)):
        with pytest.raises(Away) as caught:
            await open_directory({**make(server), "ca_file": ca_file}).verify("alice", RIGHT)
        assert caught.value.cause is Cause.CERTIFICATE


async def test_without_tls_the_domain_takes_no_password(server: Samba, open_directory: Open) -> None:
    directory = open_directory({**starttls(server), "tls_strategy": "insecure"})
    with pytest.raises(Away) as caught:
        await directory.verify("alice", RIGHT)
    assert caught.value.cause is Cause.SERVICE


@pytest.mark.parametrize(
    ("traits", "direct", "above"),
    [
        ({"nested_groups": "no"}, OWN, set()),
        ({"nested_groups": "recursive"}, OWN, ABOVE),
        ({"use_member_of": True}, OWN, ABOVE),
        ({"group_search_filter": "(|(member={userdn})(memberUid={uid}))"}, OWN, ABOVE),
        ({"group_search_base": ad.GROUPS}, {"students", "circle"}, {"staff"}),
    ],
)
async def test_groups_are_those_of_the_person_and_what_these_are_in(
    server: Samba, open_directory: Open, traits: dict[str, Any], direct: set[str], above: set[str]
) -> None:
    found = await open_directory(block(server, **traits)).look_up("alice")
    assert found and {group.name for group in found.groups if group.direct} == direct
    assert {group.name for group in found.groups if not group.direct} == above


async def test_a_group_above_allows_and_makes_administrators(server: Samba, open_directory: Open) -> None:
    everybody = f"CN=Domain Users,CN=Users,{ad.SUFFIX}"
    assert isinstance(await open_directory(block(server, allowed_groups=[everybody])).verify("bob", RIGHT), Entry)
    directory = open_directory(block(server, allowed_groups=[STAFF], admin_groups=[STAFF.lower()]))
    alice = await directory.verify("alice", RIGHT)
    assert isinstance(alice, Entry) and alice.administrator
    assert await directory.verify("bob", RIGHT) == Refused(why=Refusal.NOT_ALLOWED)


@pytest.mark.parametrize(
    ("name", "values", "code", "why"),
    [
        ("disabled", {"userAccountControl": str(ad.NORMAL_ACCOUNT | ad.DISABLED)}, "533", Refusal.DISABLED),
        ("ended", {"accountExpires": str(ad.LONG_AGO)}, "701", Refusal.DISABLED),
        ("hours", {"logonHours": bytes(21)}, "530", Refusal.DISABLED),
        ("machine", {"userWorkstations": "another"}, "531", Refusal.DISABLED),
    ],
)
async def test_who_may_not_come_is_told_so_if_the_password_is_right(
    server: Samba, open_directory: Open, name: str, values: dict[str, Any], code: str, why: Refusal
) -> None:
    server.person(name, **values)
    assert f"data {code}," in server.refusal(dn_of(name), PASSWORD)
    directory = open_directory(block(server))
    assert await directory.verify(name, RIGHT) == Refused(why=why)
    assert await directory.verify(name, WRONG) == Refused(why=Refusal.WRONG)
    assert await directory.change_password(name, RIGHT, NEW) is PasswordFault.WRONG_OLD
    assert (await directory.look_up(name) is None) == (name in {"disabled", "ended"})


async def test_too_many_wrong_ones_lock_and_an_administrator_unlocks(server: Samba, open_directory: Open) -> None:
    lost = server.person("lost")
    server.policy("locking", lost, **{"msDS-LockoutThreshold": "2"})
    directory = open_directory(block(server))
    for _ in range(2):
        assert await directory.verify("lost", WRONG) == Refused(why=Refusal.WRONG)
    assert "data 775," in server.refusal(lost, PASSWORD)
    assert await directory.verify("lost", RIGHT) == Refused(why=Refusal.LOCKED)
    assert await directory.change_password("lost", RIGHT, NEW) is PasswordFault.LOCKED
    server.change(lost, lockoutTime="0")
    assert isinstance(await directory.verify("lost", RIGHT), Entry)


async def test_wrong_old_passwords_of_a_change_count_as_well(server: Samba, open_directory: Open) -> None:
    busy = server.person("busy", pwdLastSet="0")
    server.policy("locking-too", busy, **{"msDS-LockoutThreshold": "2"})
    directory = open_directory(block(server))
    for _ in range(2):
        assert await directory.change_password("busy", WRONG, NEW) is PasswordFault.WRONG_OLD
    assert await directory.change_password("busy", RIGHT, NEW) is PasswordFault.LOCKED


@pytest.mark.parametrize(("name", "code"), [("fresh", "773"), ("late", "532")], ids=["must be changed", "has expired"])
async def test_a_password_that_must_be_changed_is_changed_and_then_good(
    server: Samba, open_directory: Open, name: str, code: str
) -> None:
    if name == "fresh":
        server.person(name, pwdLastSet="0")
    directory = open_directory(block(server))
    first = await directory.verify(name, RIGHT)
    assert isinstance(first, Entry) and first.must_change
    assert f"data {code}," in server.refusal(first.dn, PASSWORD)
    assert await directory.verify(name, WRONG) == Refused(why=Refusal.WRONG)
    assert await directory.change_password(name, WRONG, NEW) is PasswordFault.WRONG_OLD
    assert await directory.change_password(name, RIGHT, NEW) is None
    after = await directory.verify(name, NEW)
    assert isinstance(after, Entry) and not after.must_change
    assert after.directory_id == first.directory_id
    assert await directory.verify(name, RIGHT) == Refused(why=Refusal.WRONG)


@pytest.mark.parametrize("template", [f"CN={{username}},{ad.PEOPLE}", *LOGINS], ids=["dn", "domain", "principal"])
async def test_without_an_account_that_searches_people_change_their_passwords_themselves(
    server: Samba, open_directory: Open, template: str
) -> None:
    name = f"self{len(template)}"
    server.person(name)
    directory = open_directory(templates(server, template))
    assert await directory.change_password(name, WRONG, NEW) is PasswordFault.WRONG_OLD
    assert await directory.change_password(name, RIGHT, NEW) is None
    assert isinstance(await directory.verify(name, NEW), Entry)
    # Who has not bound may change nothing, and who must change their password cannot bind.
    server.change(dn_of(name), pwdLastSet="0")
    assert await directory.verify(name, NEW) == Refused(why=Refusal.EXPIRED)
    assert await directory.change_password(name, NEW, RIGHT) is PasswordFault.NOT_ALLOWED
    assert await directory.verify(name, WRONG) == Refused(why=Refusal.WRONG)


async def test_a_new_password_obeys_the_rules_of_the_domain(server: Samba, open_directory: Open) -> None:
    server.policy("rules", server.person("ruled"), **{"msDS-MinimumPasswordLength": "10"})
    directory = open_directory(block(server))
    assert await directory.change_password("ruled", RIGHT, Secret("Sh0rt one")) is PasswordFault.DIRECTORY_TOO_SHORT
    assert await directory.change_password("ruled", RIGHT, Secret("allsmallletters")) is PasswordFault.QUALITY
    assert await directory.change_password("ruled", RIGHT, RIGHT) is PasswordFault.SAME
    assert await directory.change_password("ruled", RIGHT, NEW) is None
    assert await directory.change_password("ruled", NEW, RIGHT) is PasswordFault.IN_HISTORY
    odd = Secret('Ümläut "パス" \\ 1')
    assert await directory.change_password("ruled", NEW, odd) is None
    assert isinstance(await directory.verify("ruled", odd), Entry)


async def test_a_change_may_come_too_soon(server: Samba, open_directory: Open) -> None:
    server.policy("slow", server.person("young"), **{"msDS-MinimumPasswordAge": ad.span(timedelta(days=1))})
    directory = open_directory(block(server))
    assert await directory.change_password("young", RIGHT, NEW) is PasswordFault.TOO_SOON


async def test_a_password_that_ends_soon_is_warned_of(server: Samba, open_directory: Open) -> None:
    server.policy("warned", server.person("soon"), **{"msDS-MaximumPasswordAge": ad.span(TEN_DAYS)})
    soon = await open_directory(block(server)).verify("soon", RIGHT)
    assert isinstance(soon, Entry) and soon.expires_at
    assert timedelta(days=9) < soon.expires_at - datetime.now(UTC) <= TEN_DAYS
    later = await open_directory(block(server, expiry_warning_days=5)).verify("soon", RIGHT)
    assert isinstance(later, Entry) and later.expires_at is None
    alice = await open_directory(block(server)).verify("alice", RIGHT)
    assert isinstance(alice, Entry) and alice.expires_at is None


async def test_who_is_disabled_or_deleted_is_known_no_more(server: Samba, open_directory: Open) -> None:
    gone = server.person("gone")
    directory = open_directory(block(server))
    assert await directory.look_up("gone")
    server.change(gone, userAccountControl=str(ad.NORMAL_ACCOUNT | ad.DISABLED))
    assert await directory.look_up("gone") is None
    server.change(gone, userAccountControl=str(ad.NORMAL_ACCOUNT))
    assert await directory.look_up("gone")
    server.delete(gone)
    assert await directory.look_up("gone") is None


def test_check_config_explains_what_the_domain_answers(server: Samba, tmp_path: Path) -> None:
    ended, said = check(tmp_path, "alice", block(server, admin_groups=[STAFF]))
    assert ended == 0, said
    for sentence in (
        "searches as CN=service",
        "objectguid:",
        "is good until",
        "by way of another group",
        "administers",
    ):
        assert sentence in said


def test_check_config_tells_of_a_lock_and_of_a_change_that_comes_first(server: Samba, tmp_path: Path) -> None:
    server.policy("troubled", server.person("troubled", pwdLastSet="0"), **{"msDS-LockoutThreshold": "1"})
    assert "data 52e," in server.refusal(dn_of("troubled"), "wrong")
    _, said = check(tmp_path, "troubled", block(server))
    assert "has locked the account" in said and "must be changed first" in said


def test_through_the_platform_a_password_is_changed_and_its_end_is_told(server: Samba) -> None:
    server.policy("platform", server.person("daily", pwdLastSet="0"), **{"msDS-MaximumPasswordAge": ad.span(TEN_DAYS)})
    with platform_with(block(server)) as platform, browser_of(platform) as client:
        page = sign_in(client, "daily", PASSWORD)
        assert "/hub/kqi/first-password" in str(page.url) and "must be changed before you go on, daily" in page.text
        for old, new, sentence in (
            (WRONG.reveal(), NEW.reveal(), "present password is wrong"),
            (PASSWORD, "Sh0rt", "too short"),
        ):
            page = change(client, page, old, new)
            assert sentence in fault(page.text)
        page = change(client, page, PASSWORD, NEW.reveal())
        assert "/hub/kqi/first-password" not in str(page.url) and page.status_code == 200
        assert me(platform, "daily", NEW.reveal())["name"] == "daily"
        with browser_of(platform) as again:
            assert "expires on" in sign_in(again, "daily", NEW.reveal()).text
        said = "\n".join(platform.output)
        assert not [one for one in (PASSWORD, NEW.reveal(), ad.SERVICE_PASSWORD) if one in said]
