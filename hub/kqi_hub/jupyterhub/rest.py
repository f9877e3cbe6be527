"""REST routes inside the hub, because passwords are checked here and nowhere else."""

import hmac
import json
from datetime import timedelta
from typing import Any

from jupyterhub.handlers import BaseHandler
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from kqi import schema
from kqi_hub.audit import log as audit
from kqi_hub.db.engine import Database
from kqi_hub.directory.arrival import Arrived
from kqi_hub.directory.base import Refusal, Refused
from kqi_hub.errors import Unavailable
from kqi_hub.identity import people, tokens
from kqi_hub.jupyterhub.answers import problem
from kqi_hub.jupyterhub.passwords import said_of
from kqi_hub.runtime import kept_secret
from kqi_spawner.workload import Secret

_LIFE = timedelta(days=30)


class _Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    username: str = Field(max_length=255)
    password: str = Field(max_length=4096)
    name: schema.OneLine = Field(default="kqi", min_length=1)


class Rest(BaseHandler):  # type: ignore[misc]
    """Answers JSON; no cookie counts here, so there is nothing to forge."""

    def check_xsrf_cookie(self) -> None:
        pass

    def problem(self, status: int, code: str, **params: Any) -> None:
        problem(self, status, code, **params)

    def is_service(self) -> bool:
        """Return whether our own service asks; otherwise the answer is given."""
        expected = f"Bearer {kept_secret(self.authenticator.settings, 'service-token').reveal()}"
        if hmac.compare_digest(self.request.headers.get("Authorization", "").encode(), expected.encode()):
            return True
        self.problem(401, "token_not_valid")
        return False

    async def credentials(self) -> _Credentials | None:
        """Return what was sent if an attempt is allowed; otherwise the answer is given."""
        wait = self.authenticator.wait_s(self.request)
        if wait:
            self.problem(429, "too_many_attempts", retry_after_s=wait)
            return None
        try:
            return _Credentials.model_validate(json.loads(self.request.body))
        except (ValueError, ValidationError, RecursionError):
            self.problem(422, "invalid_request", fields="username, password")
            return None


class MakeToken(Rest):
    """`POST /hub/kqi/token`: a token for a program, by name and password."""

    async def post(self) -> None:
        given = await self.credentials()
        if given is None:
            return
        entry = await self.authenticator.check(given.username, Secret(given.password))
        if isinstance(entry, Refused):
            await self.authenticator.refused(given.username, entry, self.request)
            self._refuse(entry)
            return
        if entry.must_change:
            self.problem(403, "must_change_password")
            return
        arrived = await self.authenticator.arrive(entry, self.request)
        if isinstance(arrived, Refused):
            self._refuse(arrived)
            return
        try:
            made = await _made(
                self.authenticator.database, entry.name, given.name, self.authenticator.address(self.request)
            )
        except (Unavailable, SQLAlchemyError) as error:
            self.log.error("no token could be kept", exc_info=error)
            self.problem(503, Refusal.UNREACHABLE.value)
            return
        if made is None:
            self.problem(401, Refusal.WRONG.value)
            return
        # This is a sign-in, too: without a user at the hub, a person of programs alone could never have a server.
        await self.auth_to_user(
            await self.authenticator.get_authenticated_user(self, {"arrived": arrived, "entry": entry})
        )
        self.set_status(201)
        self.set_header("Content-Type", "application/json")
        self.finish(made.model_dump_json())

    def _refuse(self, refused: Refused) -> None:
        statuses = {Refusal.WRONG: 401, Refusal.UNREACHABLE: 503}
        code, params = said_of(refused)
        self.problem(statuses.get(refused.why, 403), code, **params)


async def _made(database: Database, person_name: str, name: str, address: str) -> schema.NewToken | None:
    async with database.write() as session:
        person = await people.person_named(session, person_name)
        if person is None:
            return None
        secret, row = await tokens.create(session, person.id, name, lasts=_LIFE)
        made = audit.written({"name": name, "by": "password"})
        entry = audit.Entry(
            action="token.create", thing=f"token/{row.id}", person=person.id, address=address, details=made
        )
        await audit.append(session, entry)
    info = schema.Token(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at or row.created_at,
        last_used_at=None,
    )
    return schema.NewToken(token=secret.reveal(), info=info)


class Verify(Rest):
    """`POST /hub/kqi/verify`: our own services ask whether a password is right, so that lock-out is one.

    Where nobody can be asked, it is neither right nor wrong: 503.
    """

    async def post(self) -> None:
        if not self.is_service():
            return
        given = await self.credentials()
        if given is None:
            return
        entry = await self.authenticator.check(given.username, Secret(given.password))
        if isinstance(entry, Refused):
            await self.authenticator.refused(given.username, entry, self.request)
        found = entry if isinstance(entry, Refused) or entry.must_change else await self.authenticator.arrive(entry)
        if isinstance(found, Refused) and found.why is Refusal.UNREACHABLE:
            code, params = said_of(found)
            self.problem(503, code, **params)
            return
        if not isinstance(found, Arrived):
            self.problem(401, Refusal.WRONG.value)
            return
        said = {"name": found.name, "groups": found.tenants, "administrator": found.administrator}
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(said))
