"""Tenants at the command line: made, shared with others, switched to."""

from dataclasses import replace

from kqi.cli.exits import Code
from tests.integration.cli.person import Person
from tests.platform import Platform


def test_a_group_is_made_joined_and_worked_in(platform: Platform, alice: Person, tokens: dict[str, str]) -> None:
    bob = replace(alice, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": tokens["bob"]})
    made = alice("tenant", "create", "vision", "--display-name", "画像班", "--json").json
    assert (made["managers"], made["display_name"]) == (["alice"], "画像班")
    assert bob("data", "list", "--tenant", "vision").code == Code.NOT_FOUND
    assert bob("tenant", "ask", "vision", "--message", "よろしく").code == 0
    assert [one["person"] for one in alice("tenant", "requests", "vision", "--json").json] == ["bob"]
    assert alice("tenant", "accept", "vision", "bob", "--role", "user", "--json").json["role"] == "user"
    assert bob("tenant", "use", "vision").code == 0
    assert bob("whoami", "--json").code == 0 and bob("data", "list", "--json").json == []
    assert bob("training", "create", "--command", "true").code != 0
    assert alice("tenant", "remove", "vision", "alice").code != 0
    assert alice("tenant", "archive", "vision", "--json").json["archived"]
    alice("tenant", "unarchive", "vision")
    assert bob("tenant", "leave", "vision").code == 0
    assert "vision" in bob("tenant", "list").out


def test_only_administrators_govern(alice: Person) -> None:
    assert alice("admin", "roles", "list").code == 0
    assert alice("admin", "roles", "people").code == Code.FORBIDDEN
    assert alice("admin", "mappings", "list").code == Code.FORBIDDEN
