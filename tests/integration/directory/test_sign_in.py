"""Signing in against a real slapd: who is let in, as whom, and what is said to the others."""

from collections.abc import Iterator

import pytest

from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.directory.ldap.wire import Away, Cause
from kqi_hub.errors import ConfigError
from kqi_spawner.workload import Secret
from tests import slapd
from tests.integration.directory.conftest import Open
from tests.slapd import PASSWORD, Slapd, dn_of

RIGHT = Secret(PASSWORD)


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    made.load(
        [
            *slapd.tree(pwdMaxFailure="3"),
            slapd.person("alice", 10001, displayName="Alice Liddell"),
            slapd.person("bob", 10002),
            slapd.person("Carol", 10003),
            slapd.person("twin", 10004),
            (f"cn=twin,{slapd.PEOPLE}", {**slapd.person("twin", 10005)[1], "uid": "twin"}),
            slapd.person("lost", 10006),
            slapd.group("students", dn_of("alice"), dn_of("bob")),
            slapd.group("staff", f"cn=students,{slapd.GROUPS}"),
            slapd.group("university", f"cn=staff,{slapd.GROUPS}"),
            slapd.group("circle", f"cn=students,{slapd.GROUPS}", f"cn=round,{slapd.GROUPS}"),
            slapd.group("round", f"cn=circle,{slapd.GROUPS}"),
            slapd.posix_group("posix", 500, "alice"),
            slapd.group("others", dn_of("bob")),
        ]
    )
    with made:
        yield made


@pytest.mark.parametrize(
    "traits",
    [
        {},
        {"tls_strategy": "on_connect"},
        {"tls_strategy": "insecure"},
        {"lookup_dn": False, "bind_dn_template": f"uid={{username}},{slapd.PEOPLE}"},
        {
            "lookup_dn": False,
            "lookup_dn_search_user": None,
            "bind_dn_template": [f"cn={{username}},{slapd.PEOPLE}", f"uid={{username}},{slapd.PEOPLE}"],
        },
    ],
    ids=["starttls", "ldaps", "insecure", "template", "templates without a service account"],
)
async def test_who_has_the_password_is_let_in_as_the_directory_knows_them(
    server: Slapd, open_directory: Open, traits: dict[str, object]
) -> None:
    port = {"server_port": server.tls_port} if traits.get("tls_strategy") == "on_connect" else {}
    directory = open_directory(server, **port, **traits)
    found = await directory.verify("alice", RIGHT)
    assert isinstance(found, Entry)
    assert (found.name, found.display_name, found.email) == ("alice", "Alice Liddell", "alice@example.org")
    assert (found.uid, found.gid, found.dn, found.source) == (10001, 10001, dn_of("alice"), "ldap")
    assert found.directory_id and found.directory_id.startswith("entryuuid:")
    assert {group.name for group in found.groups if group.direct} == {"students", "posix"}
    above = {group.name for group in found.groups if not group.direct}
    assert above == {"staff", "university", "circle", "round"}
    assert await directory.verify("alice", Secret("wrong")) == Refused(why=Refusal.WRONG)
    assert await directory.verify("nobody", RIGHT) == Refused(why=Refusal.WRONG)


async def test_a_password_of_nothing_is_never_asked_for(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server)
    for password in ("", "\0", "a\0", "\ud800"):
        assert await directory.verify("alice", Secret(password)) == Refused(why=Refusal.WRONG)
    assert 'BIND dn="" method=128' not in server.said()


async def test_a_certificate_that_nobody_vouches_for_lets_nobody_in(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server, ca_file="")
    with pytest.raises(Away) as caught:
        await directory.verify("alice", RIGHT)
    assert caught.value.cause is Cause.CERTIFICATE
    with pytest.raises(Away) as caught:
        await open_directory(server, server_address="127.0.0.1").verify("alice", RIGHT)
    assert caught.value.cause is Cause.CERTIFICATE
    assert isinstance(await open_directory(server, ca_file="", verify_tls=False).verify("alice", RIGHT), Entry)


async def test_names_are_exact_but_for_case_and_unique(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server)
    carol = await directory.verify("carol", RIGHT)
    assert isinstance(carol, Entry) and carol.name == "carol"
    assert await directory.verify("twin", RIGHT) == Refused(why=Refusal.WRONG)


@pytest.mark.parametrize("nested", ["no", "recursive"])
async def test_allowed_groups_and_administrators_follow_from_groups(
    server: Slapd, open_directory: Open, nested: str
) -> None:
    staff = f"CN=Staff, {slapd.GROUPS}"
    directory = open_directory(server, nested_groups=nested, allowed_groups=[staff], admin_groups=[staff])
    found = await directory.verify("alice", RIGHT)
    if nested == "no":
        assert found == Refused(why=Refusal.NOT_ALLOWED)
    else:
        assert isinstance(found, Entry) and found.administrator
    assert await directory.verify("carol", RIGHT) == Refused(why=Refusal.NOT_ALLOWED)
    assert await directory.verify("carol", Secret("wrong")) == Refused(why=Refusal.WRONG)


async def test_a_filter_keeps_out_whose_entry_cannot_be_read(server: Slapd, open_directory: Open) -> None:
    """A server that lets people read nothing, not even of themselves, cannot say that they match."""
    template = {
        "lookup_dn": False,
        "lookup_dn_search_user": None,
        "bind_dn_template": f"uid={{username}},{slapd.PEOPLE}",
        "search_filter": "(&({userattr}={username})(displayName=Alice*))",
    }
    readable = open_directory(server, **template)
    assert isinstance(await readable.verify("alice", RIGHT), Entry)
    assert await readable.verify("carol", RIGHT) == Refused(why=Refusal.WRONG)
    closed = Slapd(bound="none")
    closed.load([*slapd.tree(), slapd.person("alice", displayName="Alice Liddell"), slapd.person("fresh", 10002)])
    with closed:
        closed.change(dn_of("fresh"), pwdReset="TRUE")
        directory = open_directory(closed, **template)
        assert await directory.verify("alice", RIGHT) == Refused(why=Refusal.WRONG)
        # Whose password must be changed may do nothing else, and comes again afterwards.
        fresh = await directory.verify("fresh", RIGHT)
        assert isinstance(fresh, Entry) and fresh.must_change
        everybody = open_directory(closed, **{**template, "search_filter": ""})
        assert isinstance(await everybody.verify("alice", RIGHT), Entry)


async def test_member_of_may_be_trusted_instead(server: Slapd, open_directory: Open) -> None:
    server.add(*slapd.group("late", dn_of("alice")))
    found = await open_directory(server, use_member_of=True, nested_groups="no").verify("alice", RIGHT)
    assert isinstance(found, Entry) and [group.name for group in found.groups] == ["late"]
    server.delete(f"cn=late,{slapd.GROUPS}")


async def test_the_directory_locks_and_says_so(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server)
    for _ in range(3):
        assert await directory.verify("lost", Secret("wrong")) == Refused(why=Refusal.WRONG)
    assert await directory.verify("lost", RIGHT) == Refused(why=Refusal.LOCKED)


async def test_who_is_looked_up_is_as_of_now(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server)
    bob = await directory.look_up("bob")
    assert bob and {group.name for group in bob.groups if group.direct} == {"students", "others"}
    server.change(f"cn=others,{slapd.GROUPS}", member=[slapd.ADMIN])
    bob = await directory.look_up("bob")
    assert bob and "others" not in {group.name for group in bob.groups}
    server.change(dn_of("bob"), pwdAccountLockedTime="000001010000Z")
    assert await directory.look_up("bob") is None
    server.change(dn_of("bob"), pwdAccountLockedTime=[])
    assert await directory.look_up("bob")
    server.delete(dn_of("bob"))
    assert await directory.look_up("bob") is None


async def test_a_wrong_service_account_is_told_as_what_it_is(server: Slapd, open_directory: Open) -> None:
    directory = open_directory(server, lookup_dn_search_password="wrong")
    with pytest.raises(Away) as caught:
        await directory.verify("alice", RIGHT)
    assert caught.value.cause is Cause.SERVICE
    with pytest.raises(ConfigError):
        open_directory(server, lookup_dn_search_password="")
