"""What an administrator does at the command line, and the password that somebody changes there."""

from dataclasses import replace

import pytest

from kqi.cli.exits import Code
from tests.integration.cli.person import Person
from tests.platform import PASSWORD, Platform

NEW = "a new passphrase 2031"


@pytest.fixture(scope="session")
def root_token(platform: Platform) -> str:
    platform.add_user("root-of-cli", "--admin")
    return platform.token("root-of-cli")


@pytest.fixture
def root(platform: Platform, stranger: Person, root_token: str) -> Person:
    """An administrator, by a token of the environment."""
    return replace(stranger, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": root_token})


def test_somebody_is_made_changed_listed_and_given_a_new_password(root: Person, alice: Person) -> None:
    made = root("admin", "people", "create", "hanako", "--display-name", "花子", "--email", "h@example.org")
    assert made.code == 0 and "hanako" in made.out
    again = root("admin", "people", "create", "hanako")
    assert again.code == Code.CONFLICT
    first = root("admin", "people", "password", "hanako", "--json").json["password"]
    assert first and first not in made.out
    edited = root("admin", "people", "edit", "hanako", "--role", "auditor", "--json").json
    assert (edited["platform_roles"], edited["display_name"]) == (["auditor"], "花子")
    wrong = root("admin", "people", "edit", "hanako", "--role", "emperor")
    assert wrong.code == Code.FAILED and "administrator" in wrong.err
    listed = root("admin", "people", "list", "--role", "auditor", "--search", "hana")
    assert "花子" in listed.out and "alice" not in listed.out
    assert alice("admin", "people", "list").code == Code.FORBIDDEN
    assert root("admin", "people", "show", "nobody").code == Code.NOT_FOUND


def test_somebody_is_suspended_comes_back_and_is_signed_out(root: Person, platform: Platform) -> None:
    platform.add_user("taro")
    taro = replace(root, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": platform.token("taro")})
    assert taro("whoami").code == 0
    suspended = root("admin", "people", "suspend", "taro", "--reason", "休職", "--json").json
    assert (suspended["state"], suspended["suspended_for"]) == ("suspended", "休職")
    assert taro("whoami").code == Code.FORBIDDEN
    assert root("admin", "people", "resume", "taro", "--json").json["state"] == "active"
    assert taro("whoami").code == Code.NOT_SIGNED_IN  # what ended stays ended
    back = replace(root, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": platform.token("taro")})
    assert "taro" in root("admin", "sessions", "list", "--person", "taro").out
    assert root("admin", "sessions", "end", "taro", "--json").json["ended"] >= 1
    assert back("whoami").code == Code.NOT_SIGNED_IN


def test_things_are_handed_over_and_their_owner_deleted_with_a_report(root: Person, platform: Platform) -> None:
    for name in ("leaving", "heir"):
        platform.add_user(name)
    (root.home / "f.txt").write_text("kept")
    leaving = replace(root, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": platform.token("leaving")})
    data = leaving("data", "upload", "f.txt", "--name", "theirs", "--json").json
    assert root("admin", "people", "delete", "leaving").code == Code.CONFLICT  # who owns something is not deleted
    handed = root("admin", "people", "hand-over", "leaving", "heir", "--json").json
    assert handed["state"] == "done", handed
    deleted = root("admin", "people", "delete", "leaving", "--confirm", "leaving", "--json").json
    assert deleted["state"] == "done", deleted
    heir = replace(root, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": platform.token("heir")})
    assert heir("data", "get", data["id"], "--json").json["created_by"] == "heir"
    assert str(deleted["id"]) in root("admin", "errands", "list").out


def test_the_audit_log_is_searched_exported_and_verified(root: Person, alice: Person) -> None:
    alice("admin", "people", "list")
    refused = root("admin", "audit", "list", "--person", "alice", "--refused", "--since", "2020-01-01", "--json").json
    assert any(entry["action"] == "list_people" and entry["refused"] for entry in refused)
    assert root("admin", "audit", "list", "--until", "2020-01-01", "--json").json == []
    assert root("admin", "audit", "verify").code == 0


def test_a_password_is_changed_from_the_standard_input(root: Person, platform: Platform) -> None:
    platform.add_user("changer")
    changer = replace(root, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": platform.token("changer")})
    assert changer("account", "password", text=f"{PASSWORD}\n{NEW}\nnot {NEW}\n").code == Code.USAGE
    wrong = changer("account", "password", text=f"not it\n{NEW}\n{NEW}\n")
    assert wrong.code == Code.FORBIDDEN and NEW not in wrong.out + wrong.err
    assert "present password is wrong" in wrong.err and "kqi login" not in wrong.err
    short = changer("account", "password", text=f"{PASSWORD}\nx\nx\n")
    assert short.code == Code.FAILED
    assert changer("account", "password", text=f"{PASSWORD}\n{NEW}\n{NEW}\n").code == 0
    stranger = replace(root, variables={})
    assert stranger("login", platform.url, "--user", "changer", text=NEW + "\n").code == 0
