"""A `Directory` over LDAP."""

import time
from collections import OrderedDict

from kqi_hub.directory.base import Entry, PasswordFault, Refusal, Refused, Unanswered
from kqi_hub.directory.ldap.groups import Parents
from kqi_hub.directory.ldap.servers import Servers
from kqi_hub.directory.ldap.steps import Known, Steps, askable, name_is_valid
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.wire import Away, Cause
from kqi_hub.directory.ldap.words import can_be_asked
from kqi_hub.errors import Unavailable
from kqi_spawner.workload import Secret

_REMEMBERED = 20_000
# The servers are well, and say of one person what cannot be used.
_OF_ONE = {Cause.ANSWER, Cause.TOO_LARGE}


class LdapDirectory:
    """Raises Away, within `deadline_s`, while the directory cannot be asked."""

    def __init__(self, traits: LdapTraits) -> None:
        self.traits = traits
        self.servers = Servers(traits)
        self.steps = Steps(traits, Parents(traits.look_up_cache_s))
        self._looked_up: OrderedDict[str, tuple[float, Entry | None]] = OrderedDict()

    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        known: Known | Refused = Refused(why=Refusal.WRONG)
        if askable(name, password, self.traits):
            known = await self.servers.run(self.steps.sign_in(name, password))
        if isinstance(known, Refused):
            return known
        if not known.entry.must_change:
            self._remember(known.entry.name, known.entry)
        return known.entry

    async def look_up(self, name: str) -> Entry | None:
        """Return the person as of now, or of `look_up_cache_s` ago at most."""
        kept = self._looked_up.get(name)
        if kept is not None and time.monotonic() - kept[0] < self.traits.look_up_cache_s:
            return kept[1]
        if not name_is_valid(name, self.traits):
            return None
        if not self.traits.lookup_dn and self.servers.account is None:
            raise Unavailable("ldap_nobody_searches")
        try:
            known = await self.servers.run(self.steps.look_up(name))
        except Away as error:
            if error.cause in _OF_ONE:
                raise Unanswered(error.code, **error.params) from error
            raise
        entry = known.entry if known else None
        self._remember(name, entry)
        return entry

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        if not askable(name, old, self.traits):
            return PasswordFault.WRONG_OLD
        if not can_be_asked(new.reveal()):
            return PasswordFault.BAD_CHARACTER if new.reveal() else PasswordFault.DIRECTORY_TOO_SHORT
        if new.reveal() == old.reveal():
            return PasswordFault.SAME
        return await self.servers.run(self.steps.change(name, old, new))

    def close(self) -> None:
        self.servers.close()

    def _remember(self, name: str, entry: Entry | None) -> None:
        self._looked_up[name] = (time.monotonic(), entry)
        self._looked_up.move_to_end(name)
        if len(self._looked_up) > _REMEMBERED:
            self._looked_up.popitem(last=False)
