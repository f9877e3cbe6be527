"""Routes of one's credentials of git servers and registries."""

from typing import Annotated

from fastapi import Path

from kqi import schema
from kqi_hub.accounts import credentials
from kqi_hub.accounts.credentials import Credentials
from kqi_hub.accounts.rows import CredentialRow
from kqi_hub.clock import now
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity.policy import Permission
from kqi_hub.web.call import Caller, feature
from kqi_hub.web.routes import Routes
from kqi_spawner.workload import Secret

routes = Routes("account")
Id = Annotated[int, Path(ge=1, le=2**53 - 1)]
_AT_MOST = 100
# Git servers take any name beside a token; git itself must be told one.
_GIT_USER = "git"


@routes.get("/credentials", permission=Permission.ACCOUNT_MANAGE)
async def list_credentials(call: Caller) -> schema.Page[schema.Credential]:
    """List them; their secrets are never shown."""
    rows = await credentials.of_person(call.session, call.person.person)
    return schema.Page(items=[_shown(row) for row in rows])


@routes.put("/credentials/{kind}", permission=Permission.ACCOUNT_MANAGE)
async def set_credential(call: Caller, kind: schema.CredentialKind, body: schema.SetCredential) -> schema.Credential:
    """Keep what opens a server, in the place of what did before."""
    server = credentials.server_of(body.server)
    if kind is schema.CredentialKind.REGISTRY and not body.username:
        raise Invalid("registry_user_missing")
    if any(char in body.secret or char in body.username for char in "\0\r\n"):
        raise Invalid("credential_not_valid")
    row = await credentials.known(call.session, call.person.person, kind, server)
    if row is None:
        if len(await credentials.of_person(call.session, call.person.person)) >= _AT_MOST:
            raise Conflict("too_many_credentials", count=_AT_MOST)
        row = CredentialRow(person_id=call.person.person, kind=kind.value, server=server)
        call.session.add(row)
    row.username = body.username or _GIT_USER
    row.secret = call.platform.vault.seal(Secret(body.secret))
    row.created_at, row.last_used_at = now(), None
    await call.session.flush()
    await call.note("credential.set", f"{kind.value}/{server}", username=row.username)
    return _shown(row)


@routes.delete("/credentials/{credential_id}", permission=Permission.ACCOUNT_MANAGE)
async def remove_credential(call: Caller, credential_id: Id) -> None:
    row = await call.session.get(CredentialRow, credential_id)
    if row is None or row.person_id != call.person.person:
        raise NotFound("credential", credential_id)
    await call.session.delete(row)
    await call.note("credential.remove", f"{row.kind}/{row.server}")


@routes.post("/git-credential", permission=Permission.RUN_SUBMIT)
async def get_git_credential(
    call: Caller, body: schema.AskGitCredential, known: Annotated[Credentials, feature(Credentials)]
) -> schema.GitCredential:
    """Answer git's question for a host. Who may submit a run may have it: git in the run would be told it as well."""
    found = await known.git(call.person.person, f"{body.protocol}://{body.host}")
    if found is None:
        raise NotFound("credential", body.host)
    kind = schema.CredentialKind.GIT.value
    await call.note("credential.hand_out", f"{kind}/{found.host}", tenant=call.person.only_tenant)
    return schema.GitCredential(username=found.username, password=found.secret.reveal())


def _shown(row: CredentialRow) -> schema.Credential:
    return schema.Credential(
        id=row.id,
        kind=schema.CredentialKind(row.kind),
        server=row.server,
        username=row.username,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )
