"""The directory for a JupyterHub of one's own, in the place of jupyterhub-ldapauthenticator: same traits, same answers.

The platform itself signs people in by `KqiAuthenticator`, which has the pages for changes of passwords beside.
"""

from typing import Any

from jupyterhub.auth import Authenticator

from kqi_hub.directory.base import Refused
from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.groups import among
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_spawner.workload import Secret


class KqiLDAPAuthenticator(Authenticator, LdapTraits):  # type: ignore[misc]
    """Whoever is in one of `allowed_groups`, or allowed by JupyterHub's own rules, may come."""

    _directory: LdapDirectory | None = None

    @property
    def directory(self) -> LdapDirectory:
        if self._directory is None:
            self.tls_context()
            self._directory = LdapDirectory(self)
        return self._directory

    async def authenticate(self, handler: Any, data: dict[str, Any]) -> dict[str, Any] | None:
        found = await self.directory.verify(data["username"], Secret(data["password"] or ""))
        if isinstance(found, Refused) or found.must_change:
            why = found.why.value if isinstance(found, Refused) else "must_change_password"
            self.log.warning("sign-in refused: %s", why)
            return None
        state = {
            "ldap_groups": among(found.groups, self.allowed_groups or ()),
            "user_attributes": {name: list(values) for name, values in found.attributes.items()},
        }
        return {"name": found.name, "admin": found.administrator or None, "auth_state": state}

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        state = (auth_model or {}).get("auth_state") or {}
        return bool(super().check_allowed(username, auth_model) or state.get("ldap_groups"))
