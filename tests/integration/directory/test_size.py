"""A directory of 10,000 people and 1,000 groups: everybody has their own groups, all of them, by one search."""

import re
from collections.abc import Iterator

import pytest

from kqi_hub.directory.base import Entry
from kqi_spawner.workload import Secret
from tests import slapd
from tests.integration.directory.conftest import Open
from tests.slapd import PASSWORD, Slapd, dn_of

_PEOPLE, _GROUPS = 10_000, 1_000


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    people = [slapd.person(f"u{number}", 20000 + number) for number in range(_PEOPLE)]
    members: list[list[str]] = [[] for _ in range(_GROUPS)]
    for number in range(_PEOPLE):
        for group in (number % _GROUPS, number * 7 % _GROUPS):
            members[group].append(dn_of(f"u{number}"))
    groups = [slapd.group(f"g{number}", *sorted(set(found))) for number, found in enumerate(members)]
    made.load([*slapd.tree(), *people, *groups])
    with made:
        yield made


async def test_everybody_has_their_own_groups_and_nobody_waits_for_the_others(
    server: Slapd, open_directory: Open
) -> None:
    allowed = [f"cn=g{number},{slapd.GROUPS}" for number in range(_GROUPS)]
    directory = open_directory(server, allowed_groups=allowed, look_up_cache_s=60.0)
    for number in range(0, _PEOPLE, 331):
        found = await directory.verify(f"u{number}", Secret(PASSWORD))
        assert isinstance(found, Entry)
        assert {group.name for group in found.groups} == {f"g{number % _GROUPS}", f"g{number * 7 % _GROUPS}"}
    searches = len(re.findall(r" SRCH base=", server.said()))
    # The person, their groups, and what holds these: never one for each group that is allowed.
    assert searches <= 3 * len(range(0, _PEOPLE, 331))
