"""What is asked of a server to let somebody in, to know who they are, and to change their password; in order."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kqi_hub.clock import now
from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.ldap import entries, logins
from kqi_hub.directory.ldap.groups import Parents, among, groups_of
from kqi_hub.directory.ldap.servers import Visit
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.verdicts import Answer, Standing, ad_code, fault_of_change, standing
from kqi_hub.directory.ldap.wire import Away, Cause, Found, Reach
from kqi_hub.directory.ldap.words import can_be_asked, comparable, in_filter, in_name
from kqi_spawner.workload import Secret

SOURCE = "ldap"
_EVERYTHING = "(objectClass=*)"
_REFUSALS = {
    Standing.WRONG: Refusal.WRONG,
    Standing.LOCKED: Refusal.LOCKED,
    Standing.DISABLED: Refusal.DISABLED,
    Standing.EXPIRED: Refusal.EXPIRED,
}
_REFUSED_CHANGES = {Standing.LOCKED: PasswordFault.LOCKED, Standing.EXPIRED: PasswordFault.NOT_ALLOWED}
_NO_SUCH_OBJECT = 32
_MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An entry and what the platform makes of it."""

    found: Found
    entry: Entry


@dataclass(frozen=True, slots=True)
class Steps:
    """The configuration in use; each call is one visit of a server."""

    traits: LdapTraits
    parents: Parents

    def sign_in(self, name: str, password: Secret) -> Callable[[Visit], Known | Refused]:
        def visit(server: Visit) -> Known | Refused:
            found = self.found(server, name) if self.traits.lookup_dn else None
            answer, dn = _bound(server, self._names(found, name), password)
            said = _said(server, answer)
            if found is None and self.traits.lookup_dn:
                return Refused(why=Refusal.WRONG)
            if said in _REFUSALS:
                return Refused(why=_REFUSALS[said])
            if found is None:
                found = self._their_own(server, dn, name, may_read=said is Standing.RIGHT)
            if found is None:
                return Refused(why=Refusal.WRONG)
            # Of who may not read before the change nothing is asked; nothing but the change is open to them.
            unread = said is Standing.MUST_CHANGE and not found.values
            known = self._as_read(server, found, name) if unread else self.known(server, found, name)
            if known is None:
                return Refused(why=Refusal.WRONG)
            told = self._told(known, answer, must_change=said is Standing.MUST_CHANGE)
            return (None if unread else self.refused(known)) or Known(found=found, entry=told)

        return visit

    def look_up(self, name: str) -> Callable[[Visit], Known | None]:
        def visit(server: Visit) -> Known | None:
            found = self.found(server, name)
            known = self.known(server, found, name) if found else None
            return known if known and not self.refused(known) else None

        return visit

    def change(self, name: str, old: Secret, new: Secret) -> Callable[[Visit], PasswordFault | None]:
        def visit(server: Visit) -> PasswordFault | None:
            found = self.found(server, name) if self.traits.lookup_dn else None
            answer, dn = _bound(server, self._names(found, name), old)
            said = _said(server, answer)
            if found is None and self.traits.lookup_dn:
                return PasswordFault.WRONG_OLD
            if said in _REFUSALS:
                return _REFUSED_CHANGES.get(said, PasswordFault.WRONG_OLD)
            if self.traits.password_change == "no":  # noqa: S105 - a way
                return PasswordFault.NOT_ALLOWED
            if found is None:
                found = self._their_own(server, dn, name, may_read=said is Standing.RIGHT)
            if found is None:
                return PasswordFault.WRONG_OLD
            if self._in_active_directory(found):
                changed = server.change_ad_password(found.dn, old, new)
            else:
                changed = server.change_password(found.dn, old, new)
            if changed.good:
                return None
            fault = fault_of_change(changed)
            if fault is None:
                raise Away(Cause.ANSWER, server.place.name, f"{changed.code} {changed.message}")
            return fault

        return visit

    def found(self, server: Visit, name: str) -> Found | None:
        """Return the entry of that name, and of exactly that name; None if there is not exactly one."""
        if self.traits.lookup_dn:
            wanted = entries.wanted(self.traits)
            listed = server.search(self.traits.user_search_base or "", self.filter_of(name), wanted, Reach.FEW)
        else:
            # Several templates may lead to the same entry.
            every = (one for dn in self._names(None, name) for one in self._named(server, dn, name))
            listed = list({comparable(one.dn): one for one in every}.values())
        return listed[0] if len(listed) == 1 and entries.own_name(listed[0], name, self.traits) else None

    def filter_of(self, name: str) -> str:
        template = self.traits.lookup_dn_search_filter or entries.USUAL_FILTER
        return template.format(login_attr=entries.name_attribute(self.traits), login=in_filter(name))

    def known(self, server: Visit, found: Found, typed: str) -> Known | None:
        """Return what the platform makes of an entry; None if it is nobody who is meant."""
        name = entries.own_name(found, typed, self.traits) if found.values else typed
        if name is None or not self._matches(server, found, name):
            return None
        return self._as_read(server, found, name)

    def _as_read(self, server: Visit, found: Found, name: str) -> Known:
        traits = self.traits
        asked = found.first(entries.name_attribute(traits)) or name
        groups = groups_of(found, asked, traits, server.search, self.parents) if found.values else ()
        entry = Entry(
            name=name,
            display_name=entries.display_name(found, traits),
            email=found.first(traits.email_attribute)[:255] if traits.email_attribute else "",
            source=SOURCE,
            directory_id=entries.immutable_id(found, traits.id_attributes),
            dn=found.dn,
            uid=entries.number(found, traits.uid_attribute),
            gid=entries.number(found, traits.gid_attribute),
            groups=groups,
            administrator=name in traits.admin_users or bool(among(groups, traits.admin_groups)),
            attributes={asked: found.texts(asked) for asked in traits.auth_state_attributes},
        )
        return Known(found=found, entry=entry)

    def refused(self, known: Known) -> Refused | None:
        """Return why somebody may not come whose password is right."""
        entry, traits = known.entry, self.traits
        if entries.disabled(known.found, now()):
            return Refused(why=Refusal.DISABLED)
        listed = entry.name in traits.allowed_users or among(entry.groups, traits.allowed_groups or ())
        if entry.name in traits.blocked_users or not (traits.everybody or listed):
            return Refused(why=Refusal.NOT_ALLOWED)
        return None

    def _names(self, found: Found | None, name: str) -> list[str]:
        """Return the entries whose password it may be. Who is not there has one that cannot be, for the same steps."""
        if found is not None:
            return [found.dn]
        if self.traits.lookup_dn:
            return [f"cn={in_name(name)},cn=nobody,{self.traits.user_search_base}"]
        return [template.format(username=in_name(name)) for template in self.traits.bind_dn_template]

    def _their_own(self, server: Visit, dn: str, name: str, *, may_read: bool) -> Found | None:
        """Return the entry that somebody has just proved to be theirs; None if it is another's.

        Where they look for themselves, they may not before their password is changed.
        """
        if not may_read and not server.has_account:
            return Found(dn, {})
        listed = self._named(server, dn, name)
        if not logins.is_login(dn):
            return listed[0] if len(listed) == 1 else Found(dn, {})
        proven = len(listed) == 1 and (not may_read or logins.has_bound(server, listed[0]))
        return listed[0] if proven else None

    def _named(self, server: Visit, dn: str, name: str) -> list[Found]:
        if logins.is_login(dn):
            return logins.listed(server, name, self.traits)
        return server.search(dn, _EVERYTHING, entries.wanted(self.traits), Reach.ENTRY)

    def _matches(self, server: Visit, found: Found, name: str) -> bool:
        traits = self.traits
        if not traits.search_filter:
            return True
        named = found.first(traits.lookup_dn_user_dn_attribute or "") if traits.lookup_dn else ""
        asked = traits.search_filter.format(userattr=traits.user_attribute, username=in_filter(named or name))
        return len(server.search(found.dn, asked, ["1.1"], Reach.ENTRY)) == 1

    def _in_active_directory(self, found: Found) -> bool:
        way = self.traits.password_change
        return way == "active_directory" or (way == "auto" and "objectguid" in found.values)

    def _told(self, known: Known, answer: Answer, *, must_change: bool) -> Entry:
        seconds = answer.policy.expires_in_s
        expires = None if seconds is None else now() + timedelta(seconds=max(0, seconds))
        if expires is None and not must_change:
            ends = entries.password_ends(known.found)
            warned = ends is not None and ends - now() <= timedelta(days=self.traits.expiry_warning_days)
            expires = ends if warned else None
        grace_left = answer.policy.grace_left
        return replace(known.entry, must_change=must_change, expires_at=expires, grace_left=grace_left)


def askable(name: str, password: Secret, traits: LdapTraits) -> bool:
    """Return whether a directory is asked at all."""
    return name_is_valid(name, traits) and can_be_asked(password.reveal())


def name_is_valid(name: str, traits: LdapTraits) -> bool:
    return can_be_asked(name) and len(name) <= _MAX_NAME and re.match(traits.valid_username_regex, name) is not None


def _bound(server: Visit, dns: Sequence[str], password: Secret) -> tuple[Answer, str]:
    """Try the password at each of the entries until one takes it, or says more than that it is wrong."""
    answer, last = Answer(code=_NO_SUCH_OBJECT), ""
    for dn in dns:
        answer, last = server.bind(dn, password), dn
        if standing(answer) is not Standing.WRONG:
            break
    return answer, last


def _said(server: Visit, answer: Answer) -> Standing:
    said = standing(answer)
    if said is Standing.UNKNOWN:
        raise Away(Cause.ANSWER, server.place.name, f"{answer.code} {answer.message}")
    if said is Standing.MUST_CHANGE and ad_code(answer.message) and not server.has_account:
        # They have not bound, and Active Directory lets nobody change a password who has not.
        return Standing.EXPIRED
    return said
