"""The authenticator: asks the directory, mirrors tenants as groups, brings our sign-in pages."""

import logging
import re
import time
from typing import Any

from jupyterhub.auth import Authenticator
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Any as AnyTrait

from kqi_hub.audit import log as audit
from kqi_hub.audit.refusals import Refusals
from kqi_hub.db.engine import Database
from kqi_hub.directory.apply import would_change
from kqi_hub.directory.arrival import Arrived, arrive, is_of, known
from kqi_hub.directory.base import Directory, Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.configured import directory_of
from kqi_hub.errors import Unavailable
from kqi_hub.identity import people
from kqi_hub.identity.address import network_address
from kqi_hub.identity.rows import LOCAL
from kqi_hub.jupyterhub.door import Door
from kqi_hub.jupyterhub.limits import Attempts
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
        self.directory: Directory = directory_of(settings, self.database)
        self.door = Door(self.database, settings.default_tenant)
        self.refusals = Refusals(database=self.database)
        self._seen: dict[str, Entry] = {}  # as the platform has them: what did not change is not written again
        self.applications = Attempts(settings.applications.per_hour, time.monotonic, window_s=3600)
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
            found = await self.directory.verify(name, password)
        except (Unavailable, SQLAlchemyError) as error:
            return unreachable(error)
        if isinstance(found, Entry) and not NAME.fullmatch(found.name):
            return Refused(why=Refusal.NAME_NOT_VALID)
        return found

    async def change(self, name: str, old: Secret, new: Secret, request: Any = None) -> PasswordFault | Refused | None:
        """Change a password; None means done. One that nobody could sign in with is never set."""
        if not NAME.fullmatch(name) or not can_be_typed(old):
            return PasswordFault.WRONG_OLD
        if new.reveal() and not can_be_typed(new):
            return PasswordFault.BAD_CHARACTER
        try:
            fault = await self.directory.change_password(name, old, new)
            await self._note_change(name, request, fault.value if fault else "")
        except (Unavailable, SQLAlchemyError) as error:
            return unreachable(error)
        return fault

    async def _note_change(self, name: str, request: Any, refused: str) -> None:
        async with self.database.write() as session:
            person = await people.person_named(session, name)
            await audit.append(
                session,
                audit.Entry(
                    action="password.change",
                    thing=f"person/{name}",
                    person=person.id if person else None,
                    name=name,
                    address=self.address(request) if request else "",
                    refused=refused,
                ),
            )

    async def arrive(self, entry: Entry, request: Any = None) -> Arrived | Refused:
        """Let a person in whose password was right: they are known from here on, and their sign-in is on record."""
        try:
            return await self.door.arrive(entry, lambda found: self._entry(entry.name, request, found=found))
        except (Unavailable, SQLAlchemyError) as error:
            log.error("nobody could be let in", exc_info=error)
            return Refused(why=Refusal.UNREACHABLE)

    async def refused(self, name: str, refused: Refused, request: Any = None) -> None:
        """Put on record that somebody was not let in; `name` as it was typed."""
        await self.refusals.note(self._entry(name, request, found=refused))

    def address(self, request: Any) -> str:
        """Return the network address that a request came from, ours left aside."""
        forwarded = str(request.headers.get("X-Forwarded-For", ""))
        configured = self.settings.addresses.forwarded_by if self.settings.addresses else ()
        trusted = [*map(str, configured), *(self.parent.trusted_downstream_ips if self.parent else ())]
        return network_address(forwarded, "this machine", trusted)

    def wait_s(self, request: Any) -> int:
        """Count an attempt of whoever sent the request; return for how long they may not try, 0 if they may."""
        return self.attempts.wait_s(self.address(request))

    async def authenticate(self, _handler: Any, data: object) -> dict[str, Any] | None:
        """Take who has arrived at our own pages, which count attempts; JupyterHub's other ways in are closed."""
        given = data if isinstance(data, dict) else {}
        arrived = given.get("arrived")
        return model(arrived, given["entry"]) if isinstance(arrived, Arrived) else None

    async def refresh_user(self, user: Any, handler: Any = None, **_options: Any) -> bool | dict[str, Any]:
        try:
            if await self._suspended(user.name):  # whatever the directory says, and whether or not it answers
                return False
            entry = await self.directory.look_up(user.name)
            found = await self._as_of_now(entry) if entry else None
        except (Unavailable, SQLAlchemyError):
            return True  # who is signed in goes on while the directory is away
        return model(found, entry) if found else False

    async def _suspended(self, name: str) -> bool:
        async with self.database.read() as session:
            person = await people.person_named(session, name)
            return person is not None and person.disabled

    async def _as_of_now(self, entry: Entry) -> Arrived | None:
        if entry.source == LOCAL or self._seen.get(entry.name) == entry:
            async with self.database.read() as session:
                person = await people.person_named(session, entry.name)
                if person is None or person.disabled or not is_of(person, entry):
                    return None
                if entry.source == LOCAL or not await would_change(session, person, entry):
                    return await known(session, person)
        async with self.database.write() as session:
            (arrived,) = await arrive(session, [entry], default_tenant=self.settings.default_tenant, sign_in=False)
        if isinstance(arrived, Refused):
            return None
        self._seen[entry.name] = entry
        return arrived

    def _entry(self, name: str, request: Any, *, found: Arrived | Refused) -> audit.Entry:
        person = found.id if isinstance(found, Arrived) else None
        refused = found.why.value if isinstance(found, Refused) else ""
        address = self.address(request) if request else ""
        return audit.Entry(
            action="session.begin", thing=f"person/{name}", person=person, name=name, address=address, refused=refused
        )


def unreachable(error: Exception) -> Refused:
    """Return what is said where nobody could be asked, with the cause where it is the directory's."""
    if isinstance(error, Unavailable):  # said in a line: many come at once, and each would have its traceback
        log.warning("nobody could be asked", extra={"cause": str(error)})
        return Refused(why=Refusal.UNREACHABLE, cause=error.code if error.code.startswith("ldap_") else "")
    log.error("nobody could be asked", exc_info=error)
    return Refused(why=Refusal.UNREACHABLE)


def can_be_typed(password: Secret) -> bool:
    return bool(password.reveal()) and "\0" not in password.reveal()


def model(arrived: Arrived, entry: Entry | None = None) -> dict[str, Any]:
    groups = list(arrived.tenants)
    attributes = {name: list(values) for name, values in entry.attributes.items()} if entry else {}
    return {
        "name": arrived.name,
        "admin": False,  # an administrator of the platform sees contents only as a member
        "groups": groups,
        "auth_state": {"groups": groups, "user_attributes": attributes},
        "user_info": {"display_name": arrived.display_name},
    }
