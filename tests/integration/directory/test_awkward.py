"""3,000 awkward names and passwords against a real slapd: exactly the person who is meant, or a refusal."""

import random
import re
from collections.abc import Iterator

import ldap3
import pytest

from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.words import comparable, in_filter, in_name
from kqi_spawner.workload import Secret
from tests import slapd
from tests.integration.directory.conftest import Open
from tests.slapd import PASSWORD, Slapd

RIGHT = Secret(PASSWORD)
_SIGNS = "*()\\/,+\"<>;=#&|!~ \t\n\r\0'`%${}[]^:@?.-_0aA\u00e9\u0130\u017f\u3042\U0001f600\u200b\u202e\ufeff\u0301"
_KNOWN = (
    *("*", "a*", "*)(uid=*", "alice)(uid=*", "alice)(|(uid=*", "alice*", "(uid=alice)", "*)(objectClass=*", "\\2a"),
    *(
        "alice\\00",
        "\\61lice",
        "alice ",
        " alice",
        "  alice",
        "alice\0",
        "alice\n",
        "\x00",
        "ALICE",
        "Alice",
        "\uff21lice",
    ),
    *("al\u0131ce", "alice,ou=people,dc=example,dc=org", "alice+cn=x", "alice,cn=admin", "#alice", "uid=alice"),
    *("cn=admin,dc=example,dc=org", "{username}", "{login}", "{0}", "%s", "%(uid)s", "${uid}", "..", "a" * 300),
    *("alice\u200b", "\u202ealice", "alice\u0301", "'; drop table people;--", "<script>", "-alice", "", " ", "\ud800"),
)


@pytest.fixture(scope="module")
def names() -> list[str]:
    """People who really are called like that; their passwords are their names with a word before."""
    random_signs = random.Random(7)
    odd = {"o'brien", "a.b-c_d", "x+y", "q=r", "s,t", "u;v", 'w"x', "y<z>", "back\\slash", "st*r", "(round)", "#hash"}
    odd |= {"".join(random_signs.choice("ab*()\\,+=#;<>\"'é") for _ in range(6)) for _ in range(60)}
    return sorted({name.strip().lower() for name in odd})


@pytest.fixture(scope="module")
def server(names: list[str]) -> Iterator[Slapd]:
    made = Slapd()
    people = [
        (f"uid={in_name(name)},{slapd.PEOPLE}", {**slapd.person("x", 20000 + number)[1], "uid": name})
        for number, name in enumerate(names)
    ]
    everybody = [slapd.person("alice"), slapd.person("bob"), *people]
    made.load([*slapd.tree(pwdLockout="FALSE"), *everybody, slapd.posix_group("odd", 600, *filter(str.isascii, names))])
    with made:
        yield made


@pytest.fixture(params=["search", "template"])
def directory(request: pytest.FixtureRequest, server: Slapd, open_directory: Open) -> LdapDirectory:
    traits = {"valid_username_regex": "", "nested_groups": "no", "connections": 4}
    if request.param == "template":
        traits |= {"lookup_dn": False, "bind_dn_template": f"uid={{username}},{slapd.PEOPLE}"}
    return open_directory(server, **traits)


def corpus(count: int) -> list[str]:
    signs = random.Random(42)
    made = ["".join(signs.choice(_SIGNS) for _ in range(signs.randint(1, 12))) for _ in range(count)]
    mixed = [f"{start}{signs.choice(_SIGNS)}{end}" for start in ("alice", "bob", "") for end in ("", "alice", "*")]
    return [*_KNOWN, *mixed * 20, *made][:count]


async def test_three_thousand_names_find_nobody_else(directory: LdapDirectory, server: Slapd) -> None:
    real = {"alice", "bob"}
    for name in corpus(3000):
        found = await directory.verify(name, RIGHT)
        if isinstance(found, Entry):
            assert found.name == name.lower() and found.name in real, ascii(name)
            assert comparable(found.dn) == comparable(f"uid={found.name},{slapd.PEOPLE}")
        else:
            assert found == Refused(why=Refusal.WRONG), ascii(name)
    assert not re.search(r'BIND dn="" method=128', server.said())


async def test_people_with_awkward_names_are_themselves(directory: LdapDirectory, names: list[str]) -> None:
    ids = set()
    for name in names:
        found = await directory.verify(name, RIGHT)
        assert isinstance(found, Entry) and found.name == name, name
        # A group of names holds letters of ASCII alone.
        assert [group.name for group in found.groups] == (["odd"] if name.isascii() else []), name
        ids.add(found.directory_id)
        seen = await directory.look_up(name)
        assert seen and seen.directory_id == found.directory_id
        assert await directory.verify(name, Secret("wrong")) == Refused(why=Refusal.WRONG)
    assert len(ids) == len(names)


async def test_awkward_passwords_are_taken_as_they_are(directory: LdapDirectory, server: Slapd) -> None:
    server.change(slapd.dn_of("bob"), userPassword=PASSWORD, pwdReset=[])
    old = RIGHT
    tried = [text for text in corpus(300) if text]
    for text in tried:
        new = Secret(f"{text}-{len(text):04}")
        fault = await directory.change_password("bob", old, new)
        if "\0" in text or "\ud800" in text:
            assert fault is PasswordFault.BAD_CHARACTER
            continue
        assert fault in {None, PasswordFault.SAME, PasswordFault.IN_HISTORY}, ascii(text)
        if fault is None:
            assert isinstance(await directory.verify("bob", new), Entry), ascii(text)
            assert isinstance(await directory.verify("bob", Secret(new.reveal() + " ")), Refused)
            old = new
    assert await directory.change_password("bob", old, Secret(PASSWORD + "!")) is None


@pytest.mark.parametrize("value", [["alice"], b"alice", None, 7, {"uid": "alice"}, ("alice",)])
async def test_what_is_no_text_is_asked_of_nobody(directory: LdapDirectory, value: object) -> None:
    assert await directory.verify(value, RIGHT) == Refused(why=Refusal.WRONG)  # type: ignore[arg-type]
    for escape in (in_filter, in_name):
        with pytest.raises(TypeError):
            escape(value)  # type: ignore[arg-type]


def test_filters_and_names_of_entries_mean_exactly_what_they_were_made_of(server: Slapd) -> None:
    """The oracle is slapd: it takes every one of them for what it is, and finds nothing."""
    texts = [text for text in corpus(1500) if text.strip() and "\0" not in text and "\ud800" not in text]
    with server.administrator() as admin:
        admin.raise_exceptions = False
        for text in texts:
            admin.search(slapd.PEOPLE, f"(description={in_filter(text)})", ldap3.SUBTREE, attributes=["uid"])
            assert admin.result["result"] == 0 and not admin.entries, ascii(text)
            assert comparable(f"uid={in_name(text)},dc=x").count(",") == 1, ascii(text)
            admin.search(f"uid={in_name(text)},{slapd.PEOPLE}", "(objectClass=*)", ldap3.BASE)
            assert admin.result["result"] in {0, 32}, (ascii(text), admin.result)
