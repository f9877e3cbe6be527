"""Binds by a name that is no entry's: Active Directory takes `alice@ad.example.org` and `EXAMPLE\\alice` as well."""

from kqi_hub.directory.ldap import entries
from kqi_hub.directory.ldap.servers import Visit
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.wire import Found, Reach
from kqi_hub.directory.ldap.words import in_filter

_EVERYTHING = "(objectClass=*)"
_USUAL_ATTRIBUTE = "sAMAccountName"


def is_login(name: str) -> bool:
    """Return whether a bind is by a login name, and not by the name of an entry."""
    return "=" not in name


def listed(server: Visit, name: str, traits: LdapTraits) -> list[Found]:
    """Return the entries whose name is exactly that, but for case."""
    base = traits.user_search_base or _first(server.search("", _EVERYTHING, ["defaultNamingContext"], Reach.ENTRY))
    attribute = traits.user_attribute or _USUAL_ATTRIBUTE
    wanted = [*entries.wanted(traits), *([] if traits.user_attribute else [_USUAL_ATTRIBUTE])]
    found = server.search(base, f"({attribute}={in_filter(name)})", wanted, Reach.FEW)
    return [one for one in found if name.lower() in map(str.lower, one.texts(attribute))]


def has_bound(server: Visit, found: Found) -> bool:
    """Return whether it is this entry whose password has just been right.

    A login name may be another one's: `userPrincipalName` and `sAMAccountName` are given apart.
    """
    identity = found.values.get("objectsid", [])
    root = server.search_as_bound("", _EVERYTHING, ["tokenGroups"])
    return len(root) == len(identity) == 1 and identity[0] in root[0].values.get("tokengroups", [])


def _first(root: list[Found]) -> str:
    return root[0].first("defaultNamingContext") if root else ""
