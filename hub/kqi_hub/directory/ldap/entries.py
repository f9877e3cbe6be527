"""Read a person out of an entry. Pure."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.wire import Found

# Of Active Directory's userAccountControl.
_ACCOUNT_DISABLE = 0x2
# The lock of an administrator; others pass by themselves, and are no reason to send away who is in already.
_LOCKED_FOR_GOOD = "000001010000Z"
# A security identifier: revision, count and authority, and at its end the number within the domain.
_SID_HEAD, _RID = 8, 4
_NEVER = {0, 2**63 - 1}
_EPOCH_OF_WINDOWS = datetime(1601, 1, 1, tzinfo=UTC)
_ENDS = "msDS-UserPasswordExpiryTimeComputed"
_STATE = (
    *("userAccountControl", "accountExpires", _ENDS, "objectSid", "primaryGroupID"),
    *("nsAccountLock", "pwdAccountLockedTime", "pwdEndTime"),
)
# What servers work out or write down about a password, and nobody asks at a sign-in: its answer says the same.
OF_THE_PASSWORD = ("msDS-User-Account-Control-Computed", "pwdLastSet", "pwdReset")
_LOCKOUT, _EXPIRED = 0x10, 0x800000
USUAL_FILTER = "({login_attr}={login})"


def name_attribute(traits: LdapTraits) -> str:
    return traits.user_attribute or "uid"


def wanted(traits: LdapTraits) -> list[str]:
    """Return the attributes to ask for: those that are used, and no others."""
    names = [
        *(name_attribute(traits), traits.lookup_dn_user_dn_attribute, traits.email_attribute),
        *(traits.uid_attribute, traits.gid_attribute, *traits.display_name_attributes, *traits.id_attributes, *_STATE),
        *traits.auth_state_attributes,
        *(["memberOf"] if traits.use_member_of else []),
    ]
    seen: dict[str, str] = {}
    for name in names:
        if name:
            seen.setdefault(name.lower(), name)
    return list(seen.values())


def own_name(found: Found, typed: str, traits: LdapTraits) -> str | None:
    """Return what somebody is called here who typed `typed`; None if the entry is not exactly theirs.

    Directories compare loosely (letters, spaces, accents): what they found must be what was asked for, but for case.
    """
    if traits.use_lookup_dn_username and traits.lookup_dn_user_dn_attribute:
        return _only(found.texts(traits.lookup_dn_user_dn_attribute))
    names = [value.lower() for value in found.texts(name_attribute(traits))]
    if typed.lower() in names or (not traits.lookup_dn and not traits.user_attribute):
        return typed.lower()
    usual = not traits.lookup_dn or (traits.lookup_dn_search_filter or USUAL_FILTER) == USUAL_FILTER
    return None if usual else _only(names)


def display_name(found: Found, traits: LdapTraits) -> str:
    return next((text for name in traits.display_name_attributes if (text := found.first(name).strip())), "")[:255]


def number(found: Found, attribute: str) -> int | None:
    """Return a number of an account; None for what is no such number."""
    text = found.first(attribute) if attribute else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def immutable_id(found: Found, attributes: Iterable[str]) -> str | None:
    """Return what stays whatever somebody is called, with the name of where it was found."""
    for name in attributes:
        raw = next(iter(found.values.get(name.lower(), [])), b"")
        if name.lower() == "objectguid" and len(raw) == 16:
            return f"{name.lower()}:{uuid.UUID(bytes_le=raw)}"
        text = raw.decode("utf-8", "replace").strip().lower()
        if text:
            return f"{name.lower()}:{text}"[:255]
    return None


def primary_group_sid(found: Found) -> bytes | None:
    """Return the identity of the group that Active Directory lists at the person alone, and not among its members."""
    sid, number = next(iter(found.values.get("objectsid", [])), b""), found.first("primaryGroupID")
    if len(sid) < _SID_HEAD + _RID or not (number.isascii() and number.isdigit()) or int(number) >= 1 << 32:
        return None
    return sid[:-_RID] + int(number).to_bytes(_RID, "little")


def locked(found: Found) -> bool:
    """Return whether Active Directory lets them try no more passwords for now, by OF_THE_PASSWORD."""
    return bool(_computed(found) & _LOCKOUT)


def must_change(found: Found) -> bool:
    """Return whether the password is good for nothing but its change, by OF_THE_PASSWORD."""
    again = found.first("pwdLastSet") == "0" or found.first("pwdReset").lower() == "true"
    return again or bool(_computed(found) & _EXPIRED)


def disabled(found: Found, at: datetime) -> bool:
    """Return whether the directory has switched the account off, for good or from a day on that has come."""
    control = found.first("userAccountControl")
    if control.lstrip("-").isdigit() and int(control) & _ACCOUNT_DISABLE:
        return True
    if found.first("nsAccountLock").lower() == "true" or found.first("pwdAccountLockedTime") == _LOCKED_FOR_GOOD:
        return True
    ends = _time_of_windows(found.first("accountExpires")) or _time(found.first("pwdEndTime"))
    return ends is not None and ends <= at


def password_ends(found: Found) -> datetime | None:
    """Return until when the password is good, where Active Directory says so."""
    return _time_of_windows(found.first(_ENDS))


def _computed(found: Found) -> int:
    text = found.first("msDS-User-Account-Control-Computed")
    return int(text) if text.lstrip("-").isdigit() else 0


def _only(names: list[str]) -> str | None:
    return names[0].lower() if len(names) == 1 else None


def _time_of_windows(text: str) -> datetime | None:
    if not (text.isascii() and text.isdigit()) or int(text) in _NEVER:
        return None
    try:
        return _EPOCH_OF_WINDOWS + timedelta(microseconds=int(text) // 10)
    except OverflowError:
        return None


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
