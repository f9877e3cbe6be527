"""Applications as LDIF."""

import base64

from kqi_hub.administration.applications import Target, ldif, user_of
from kqi_hub.clock import now
from kqi_hub.identity.applications import ApplicationRow


def row(**fields: str) -> ApplicationRow:
    given = {"name": "Hanako Yamada", "email": "hanako@example.org", "affiliation": "", "category": "student"}
    return ApplicationRow(id=7, at=now(), **{**given, **fields})


def attributes(text: str) -> dict[str, str]:
    """Read one entry as RFC 2849 says."""
    lines = text.replace("\n ", "").splitlines()
    found = {}
    for line in lines[lines.index("") + 1 :]:
        name, _, value = line.partition(":")
        encoded = value.startswith(":")
        found[name] = base64.b64decode(value[1:]).decode() if encoded else value.removeprefix(" ")
    return found


def test_a_person_becomes_an_entry() -> None:
    found = attributes(ldif([row()], Target(base="ou=people,dc=example,dc=org")))
    assert found["dn"] == "uid=hanako,ou=people,dc=example,dc=org"
    assert (found["cn"], found["sn"], found["givenName"]) == ("Hanako Yamada", "Yamada", "Hanako")
    assert (found["mail"], found["employeeType"], "o" in found) == ("hanako@example.org", "student", False)


def test_texts_that_are_not_plain_come_back_as_they_were() -> None:
    for name in ("山田 花子", " leads", "ends ", ":colon", "<url", "a\nmember: x", "é" * 200, "a" * 300):
        text = ldif([row(name=name)], Target(base="dc=x"))
        assert attributes(text)["cn"] == name
        assert all(len(line) <= 76 for line in text.splitlines())
        assert "\nmember:" not in text


def test_a_name_is_made_from_the_address_that_is_one() -> None:
    assert user_of("Hanako.Yamada+x@example.org") == "hanako.yamada-x"
    assert user_of("花子@example.org") == "user"
    assert len(user_of("a" * 200 + "@example.org")) == 64


def test_a_hash_is_only_in_what_is_to_have_passwords() -> None:
    sent = row(password_hash="{SSHA}salt+hash=")
    with_hash = attributes(ldif([sent], Target(base="dc=x", passwords=True)))
    assert (with_hash["userPassword"], with_hash["pwdReset"]) == ("{SSHA}salt+hash=", "TRUE")
    unbound = ldif([sent], Target(base="dc=x", passwords=True, must_change=False))
    assert "userPassword" in unbound and "pwdReset" not in unbound
    for text in (ldif([sent], Target(base="dc=x")), ldif([row()], Target(base="dc=x", passwords=True))):
        assert "userPassword" not in text and "pwdReset" not in text
