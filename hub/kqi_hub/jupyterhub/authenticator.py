"""The authenticator: asks the directory, mirrors tenants as groups, brings our sign-in pages."""

import logging
import re
import time
from typing import Any

from jupyterhub.auth import Authenticator
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Any as AnyTrait

from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Directory, Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.errors import Unavailable
from kqi_hub.jupyterhub.limits import Attempts, network_address
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret

log = logging.getLogger(__name__)
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class KqiAuthenticator(Authenticator):  # type: ignore[misc]
    """Signs people in who the directory knows. Names are exact: lower-case letters, digits, `.`, `_` and `-`."""

    platform = AnyTrait(help="The platform's settings").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        settings: Settings = self.platform
        self.settings = settings
        self.database = Database.of(settings)
        self.directory: Directory = LocalDirectory(self.database, settings.sign_in)
        self.attempts = Attempts(settings.sign_in.attempts_per_minute, time.monotonic)

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        # Pages need the authenticator, and the authenticator lists the pages: JupyterHub's own interface is this cycle.
        return list(self.pages)

    pages: tuple[tuple[str, type], ...] = ()

    async def check(self, name: str, password: Secret) -> Entry | Refused:
        """Ask the directory; names and passwords that nobody can have are not even looked up."""
        if not NAME.fullmatch(name) or not can_be_typed(password):
            return Refused(why=Refusal.WRONG)
        try:
            return await self.directory.verify(name, password)
        except (Unavailable, SQLAlchemyError) as error:
            log.error("directory did not answer", exc_info=error)
            return Refused(why=Refusal.UNREACHABLE)

    async def change(self, name: str, old: Secret, new: Secret) -> PasswordFault | Refusal | None:
        """Change a password; None means done. One that nobody could sign in with is never set."""
        if not can_be_typed(old):
            return PasswordFault.WRONG_OLD
        if new.reveal() and not can_be_typed(new):
            return PasswordFault.BAD_CHARACTER
        try:
            return await self.directory.change_password(name, old, new)
        except (Unavailable, SQLAlchemyError) as error:
            log.error("directory did not answer", exc_info=error)
            return Refusal.UNREACHABLE

    def wait_s(self, request: Any) -> int:
        """Count an attempt of whoever sent the request; return for how long they may not try, 0 if they may."""
        forwarded = str(request.headers.get("X-Forwarded-For", ""))
        trusted = self.parent.trusted_downstream_ips if self.parent else ()
        return self.attempts.wait_s(network_address(forwarded, "this machine", trusted))

    async def authenticate(self, handler: Any, data: dict[str, Any]) -> dict[str, Any] | None:
        """Our pages check the password themselves and hand in the entry that the directory gave."""
        entry = data.get("entry")
        return model(entry) if isinstance(entry, Entry) else None

    async def refresh_user(self, user: Any, handler: Any = None, **_options: Any) -> bool | dict[str, Any]:
        try:
            entry = await self.directory.look_up(user.name)
        except (Unavailable, SQLAlchemyError):
            return True  # who is signed in goes on while the directory is away
        return model(entry) if entry else False


def can_be_typed(password: Secret) -> bool:
    return bool(password.reveal()) and "\0" not in password.reveal()


def model(entry: Entry) -> dict[str, Any]:
    groups = list(entry.groups)
    shown = {"display_name": entry.display_name}
    return {
        "name": entry.name,
        "admin": entry.administrator,
        "groups": groups,
        "auth_state": {"groups": groups},
        "user_info": shown,
    }
