"""The groups of a person, at a cost of their own groups and not of all there are."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kqi_hub.directory.base import Group
from kqi_hub.directory.ldap.entries import primary_group_sid
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.wire import Found
from kqi_hub.directory.ldap.words import any_of, comparable, in_filter, in_filter_raw, suffix_of

log = logging.getLogger(__name__)
_IN_CHAIN = "1.2.840.113556.1.4.1941"
# Parents of so many groups are asked for at once: servers bound how long a filter may be.
_AT_ONCE = 100
_REMEMBERED = 10_000
Search = Callable[[str, str, list[str]], list[Found]]


@dataclass(slots=True)
class Parents:
    """The groups that hold one of several, as of some time ago: many people have the same, and they change seldom."""

    lasts_s: float
    _known: dict[frozenset[str], tuple[float, list[Group]]] = field(default_factory=dict)

    def of(self, dns: list[str], ask: Callable[[], list[Group]]) -> list[Group]:
        key = frozenset(map(comparable, dns))
        kept = self._known.get(key)
        if kept is not None and time.monotonic() - kept[0] < self.lasts_s:
            return kept[1]
        found = ask()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (time.monotonic(), found)
        return found


def groups_of(found: Found, name: str, traits: LdapTraits, search: Search, parents: Parents) -> tuple[Group, ...]:
    """Return all groups of the person, direct ones first: one search, and one for each level of nesting that is new."""
    base = base_of(traits, found.dn)
    if traits.use_member_of:
        direct = [_by_name(dn) for dn in found.texts("memberOf")]
    else:
        direct = _searched(traits.group_search_filter.format(**_fields(found.dn, name)), base, traits, search)
    sid = primary_group_sid(found)
    primary = _searched(f"(objectSid={in_filter_raw(sid)})", base, traits, search) if sid else []
    groups = {comparable(group.dn): group for group in [*primary, *direct][: traits.max_groups]}
    if traits.nested_groups == "matching_rule":
        members = [found.dn, *(group.dn for group in primary)]
        asked = any_of(f"(member:{_IN_CHAIN}:={in_filter(dn)})" for dn in members)
        _add(groups, _searched(asked, base, traits, search), traits)
    elif traits.nested_groups == "recursive":
        _walk(groups, traits, lambda dns: parents.of(dns, lambda: _above(dns, base, traits, search)))
    return tuple(groups.values())


def base_of(traits: LdapTraits, dn: str) -> str:
    """Return where the groups of an entry are looked for."""
    if traits.group_search_base:
        return traits.group_search_base
    known = [traits.user_search_base, *(traits.allowed_groups or ()), dn]
    return next((suffix_of(name) for name in known if name), "")


def among(groups: Iterable[Group], wanted: Iterable[str]) -> list[str]:
    """Return those of `wanted`, names of entries, that the groups hold."""
    held = {comparable(group.dn) for group in groups}
    return [dn for dn in wanted if comparable(dn) in held]


def _walk(groups: dict[str, Group], traits: LdapTraits, above: Callable[[list[str]], list[Group]]) -> None:
    """Add the groups that hold these, level by level; a circle ends where it has been."""
    edge = [group.dn for group in groups.values()]
    for _ in range(traits.nested_depth):
        if not edge:
            return
        edge = _add(groups, above(edge), traits)


def _above(dns: list[str], base: str, traits: LdapTraits, search: Search) -> list[Group]:
    found: list[Group] = []
    for start in range(0, len(dns), _AT_ONCE):
        members = [in_filter(dn) for dn in dns[start : start + _AT_ONCE]]
        asked = any_of(f"({kind}={dn})" for dn in members for kind in ("member", "uniqueMember"))
        found += _searched(asked, base, traits, search)
    return found


def _add(groups: dict[str, Group], found: Iterable[Group], traits: LdapTraits) -> list[str]:
    added = []
    for group in found:
        key = comparable(group.dn)
        if key not in groups and len(groups) < traits.max_groups:
            groups[key] = Group(name=group.name, dn=group.dn, direct=False)
            added.append(group.dn)
    if len(groups) >= traits.max_groups:
        log.warning("somebody is in more groups than are read", extra={"max_groups": traits.max_groups})
    return added


def _searched(text: str, base: str, traits: LdapTraits, search: Search) -> list[Group]:
    name = traits.group_name_attribute
    found = search(base, text, [name])
    return [Group(name=entry.first(name) or _by_name(entry.dn).name, dn=entry.dn) for entry in found]


def _by_name(dn: str) -> Group:
    first = comparable(dn).split(",", 1)[0]
    return Group(name=first.partition("=")[2] or dn, dn=dn)


def _fields(dn: str, name: str) -> dict[str, str]:
    return {"userdn": in_filter(dn), "uid": in_filter(name)}
