"""What a directory's groups and units give their people, and what that would change. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kqi_hub.directory.base import Entry
from kqi_hub.directory.ldap.words import comparable, parts


class Kind(StrEnum):
    """How somebody must stand to a group, or to a unit that their entry lies in."""

    GROUP_DIRECT = "group-direct"
    GROUP_NESTED = "group-nested"  # also by way of another group
    UNIT_DIRECT = "ou-direct"
    UNIT_INDIRECT = "ou-indirect"  # at any depth below it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    kind: Kind
    value: str
    tenant: int | None  # None: over the platform
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`tenant` None: the role over the platform."""

    tenant: int | None
    before: str | None
    after: str | None


# Of several roles in the same tenant, the one that counts.
Strongest = Callable[[Iterable[str]], str]
Roles = Mapping[int | None, str]


def given(entry: Entry, mappings: Iterable[Rule], strongest: Strongest) -> dict[int | None, str]:
    """Return tenant (None: the platform) → role, as the directory says now."""
    found: dict[int | None, list[str]] = {}
    for mapping in mappings:
        if matches(entry, mapping.kind, mapping.value):
            found.setdefault(mapping.tenant, []).append(mapping.role)
    return {tenant: strongest(roles) for tenant, roles in found.items()}


def changes(before: Roles, after: Roles) -> list[Change]:
    """Return the difference, the platform first and then by tenant."""
    places = sorted(before.keys() | after.keys(), key=lambda place: -1 if place is None else place)
    pairs = [Change(tenant=place, before=before.get(place), after=after.get(place)) for place in places]
    return [change for change in pairs if change.before != change.after]


def matches(entry: Entry, kind: Kind, value: str) -> bool:
    if kind in {Kind.UNIT_DIRECT, Kind.UNIT_INDIRECT}:
        unit, own = parts(value), parts(entry.dn)[1:]
        return own == unit if kind is Kind.UNIT_DIRECT else own[-len(unit) :] == unit
    wanted = comparable(value) if "=" in value else ""
    return any(
        (group.direct or kind is Kind.GROUP_NESTED)
        and (comparable(group.dn) == wanted if wanted else group.name.casefold() == value.casefold())
        for group in entry.groups
    )
