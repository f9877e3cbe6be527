"""What a directory's groups and units give: by names of entries, however they are written."""

import pytest

from kqi_hub.directory.base import Entry, Group
from kqi_hub.directory.ldap.words import comparable, is_name
from kqi_hub.directory.mapping import Kind, matches


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"cn=a\2Cb,dc=x", r"cn=a\,b,dc=x", True),
        (r"CN=A\2cB , DC=X", r"cn=a\,b,dc=x", True),
        (r"cn=admins\\,dc=x", "cn=admins,dc=x", False),
        (r"cn=admins\\,dc=x", r"cn=admins\5c,dc=x", True),
        (r"cn=admins\,dc=x", r"cn=admins,dc=x", False),
        (r"cn=a\+b=c,dc=x", "cn=a+b=c,dc=x", False),
        ("cn=a+uid=b,dc=x", "UID=b + CN=a, dc=x", True),
        (r"cn=\C3\A9t\C3\A9,dc=x", "cn=\u00e9t\u00e9,dc=x", True),
        (r"cn=a\=b,dc=x", "cn=a=b,dc=x", True),
        (r"cn=\23a,dc=x", r"cn=\#a,dc=x", True),
    ],
)
def test_names_of_entries_are_equal_where_they_mean_the_same(one: str, other: str, same: bool) -> None:
    assert (comparable(one) == comparable(other)) is same
    person = Entry(name="alice", dn=f"uid=alice,{one}", groups=(Group(name="g", dn=one, direct=False),))
    assert matches(person, Kind.GROUP_NESTED, other) is same
    assert matches(person, Kind.UNIT_DIRECT, other) is same
    assert not matches(person, Kind.GROUP_DIRECT, other)


def test_a_unit_holds_what_lies_below_it_and_not_what_is_called_alike() -> None:
    person = Entry(name="alice", dn=r"uid=alice,ou=lab\, west,ou=people,dc=x")
    assert matches(person, Kind.UNIT_INDIRECT, "ou=people, dc=x")
    assert not matches(person, Kind.UNIT_DIRECT, "ou=people, dc=x")
    assert matches(person, Kind.UNIT_DIRECT, r"OU=Lab\2C West,OU=People,DC=x")
    assert not matches(person, Kind.UNIT_INDIRECT, r"ou=west,ou=people,dc=x")
    nowhere = Entry(name="bob", groups=(Group(name="g"),))
    assert not any(matches(nowhere, kind, "dc=x") for kind in Kind)


def test_what_is_no_name_of_an_entry_is_told_apart() -> None:
    assert is_name(r"ou=a\,b,dc=x")
    assert not any(is_name(text) for text in ("", "lab", "ou=a,b,dc=x", "ou=a,"))
