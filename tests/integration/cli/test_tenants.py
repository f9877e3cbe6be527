"""Tenants at the command line: made, shared with others, switched to."""

from dataclasses import replace
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def keepers(platform: Platform) -> str:
    """A token of an administrator."""
    platform.add_user("keeper", "--admin")
    return platform.token("keeper")


@pytest.fixture
def keeper(platform: Platform, alice: Person, keepers: str) -> Person:
    return replace(alice, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": keepers})


def test_servers_are_defined_and_a_tenant_chooses_from_them(alice: Person, keeper: Person) -> None:
    alice("tenant", "create", "audio")
    url = ("--kind", "gitlab", "--url", "https://git.example.org")
    assert alice("admin", "servers", "define", "git", "ours", *url).code == Code.FORBIDDEN
    assert keeper("admin", "servers", "define", "git", "ours", *url, "--json").json["url"] == "https://git.example.org"
    assert keeper("admin", "servers", "define", "git", "ours", "--kind", "svn", "--url", "https://x").code == Code.USAGE
    keeper("admin", "servers", "define", "git", "theirs", "--kind", "github", "--url", "https://github.com")
    keeper(
        "admin", "servers", "define", "registry", "images", "--kind", "private", "--url", "https://images.example.org"
    )
    assert {one["name"] for one in alice("admin", "servers", "list", "--json").json} >= {"ours", "theirs", "images"}
    assert alice("tenant", "servers", "audio", "--json").json["chosen"] == []
    chosen = alice("tenant", "servers", "audio", "--git", "theirs", "--git", "ours", "--json").json
    assert (chosen["git_default"], chosen["chosen"]) == ("theirs", ["git"])
    kept = alice("tenant", "servers", "audio", "--registry", "images", "--json").json
    assert ([one["name"] for one in kept["git"]], kept["git_default"]) == (["ours", "theirs"], "theirs")
    other = alice("tenant", "servers", "audio", "--git-default", "ours", "--json").json
    assert (other["git_default"], other["chosen"]) == ("ours", ["git", "registry"])
    assert "https://images.example.org" in alice("tenant", "servers", "audio").out
    assert keeper("admin", "servers", "remove", "git", "ours").code == Code.CONFLICT
    assert alice("tenant", "servers", "audio", "--all", "--json").json["chosen"] == []
    assert keeper("admin", "servers", "remove", "git", "ours").code == 0


def test_a_tenants_nodes_stay_when_its_limits_change(alice: Person, keeper: Person, folder: Path) -> None:
    alice("tenant", "create", "placed")
    (folder / "expand.json").write_text("{}")
    file = ("--set", str(folder / "expand.json"))
    assert keeper("tenant", "placement", "placed", "--node", "zone=a", "--json").json["nodes"] == ["zone=a"]
    assert keeper("tenant", "placement", "placed", *file, "--json").json["nodes"] == ["zone=a"]
    assert keeper("tenant", "placement", "placed", "--all-nodes", "--json").json["nodes"] == []


def test_only_administrators_govern(alice: Person) -> None:
    assert alice("admin", "roles", "list").code == 0
    assert alice("admin", "roles", "people").code == Code.FORBIDDEN
    assert alice("admin", "mappings", "list").code == Code.FORBIDDEN
