"""Routes of one's SSH keys, and what the SSH gateway asks."""

import re
from typing import Annotated
from urllib.parse import quote

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select

from kqi import schema
from kqi_hub.accounts import ssh_keys
from kqi_hub.accounts.rows import SshKeyRow
from kqi_hub.accounts.ssh_keys import PublicKey
from kqi_hub.clock import now
from kqi_hub.db.base import kept
from kqi_hub.errors import Conflict, Invalid, NotFound, TooMany
from kqi_hub.identity import people
from kqi_hub.identity.policy import Permission
from kqi_hub.jupyterhub.limits import Attempts
from kqi_hub.outbound.http import Outside
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.routes import Routes

routes = Routes("account")
Id = Annotated[int, Path(ge=1, le=2**53 - 1)]
_AT_MOST = 100
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@routes.get("/ssh-keys", permission=Permission.ACCOUNT_MANAGE)
async def list_ssh_keys(call: Caller) -> schema.Page[schema.SshKey]:
    query = select(SshKeyRow).where(SshKeyRow.person_id == call.person.person).order_by(SshKeyRow.id)
    return schema.Page(items=[_shown(row) for row in (await call.session.execute(query)).scalars()])


@routes.post("/ssh-keys", permission=Permission.ACCOUNT_MANAGE, status=201)
async def add_ssh_key(call: Caller, body: schema.AddSshKey) -> schema.SshKey:
    key = ssh_keys.parse(body.key)
    if await _known(call, key):
        raise Conflict("ssh_key_known", fingerprint=key.fingerprint)
    return _shown(await _add(call, key, body.comment))


@routes.post("/ssh-keys/import", permission=Permission.ACCOUNT_MANAGE)
async def import_ssh_keys(
    call: Caller,
    body: schema.ImportSshKeys,
    outside: Annotated[Outside, feature(Outside)],
    limit: Annotated[Attempts, feature(Attempts)],
) -> schema.ImportedKeys:
    """Fetch the keys that a git server of the settings shows of an account, and add those that are new."""
    servers = {server.name: server.url for server in call.platform.settings.sources.key_servers}
    if body.server not in servers:
        raise Invalid("key_server_unknown", name=body.server, known=", ".join(sorted(servers)))
    if not _NAME.fullmatch(body.account):
        raise Invalid("key_account_not_valid", name=body.account)
    wait_s = limit.wait_s(str(call.person.person))
    if wait_s:
        raise TooMany("too_many_attempts", retry_after_s=wait_s)
    # Before the first query: no transaction is held while somebody else is asked.
    answer = await outside.ask("GET", f"{servers[body.server].rstrip('/')}/{quote(body.account)}.keys")
    if answer.status != 200:
        raise NotFound("account", f"{body.account} ({body.server})")
    lines = [line for line in answer.body.decode("utf-8", "replace").splitlines() if line.strip()]
    return await _take_over(call, lines[:_AT_MOST], f"{body.account}@{body.server}")


@routes.delete("/ssh-keys/{key_id}", permission=Permission.ACCOUNT_MANAGE)
async def remove_ssh_key(call: Caller, key_id: Id) -> None:
    row = await call.session.get(SshKeyRow, key_id)
    if row is None or row.person_id != call.person.person:
        raise NotFound("ssh_key", key_id)
    await call.session.delete(row)
    await call.note("ssh_key.remove", f"ssh_key/{row.fingerprint}")


class GatewayKey(BaseModel):
    id: int
    key: str
    fingerprint: str


class KeyUse(BaseModel):
    model_config = ConfigDict(extra="forbid")
    address: str = Field(max_length=64)


@routes.get("/internal/ssh-keys", permission=Permission.SERVICE, include_in_schema=False)
async def keys_of_person(call: Caller, person: Annotated[str, Query(max_length=64)]) -> schema.Page[GatewayKey]:
    """Say which keys let this person in; none for who does not exist, is suspended, or gone from their directory."""
    known = await people.person_named(call.session, person)
    if known is None or known.disabled or known.gone_at is not None:
        return schema.Page(items=[])
    rows = await call.session.execute(select(SshKeyRow).where(SshKeyRow.person_id == known.id).order_by(SshKeyRow.id))
    items = [GatewayKey(id=row.id, key=row.key, fingerprint=row.fingerprint) for row in rows.scalars()]
    return schema.Page(items=items)


@routes.post("/internal/ssh-keys/{key_id}/used", permission=Permission.SERVICE, include_in_schema=False, status=204)
async def note_key_use(call: Caller, key_id: Id, body: KeyUse) -> None:
    row = await call.session.get(SshKeyRow, key_id)
    if row is None:
        raise NotFound("ssh_key", key_id)
    row.last_used_at, row.last_used_from = now(), kept(body.address)


async def _take_over(call: Call, lines: list[str], comment: str) -> schema.ImportedKeys:
    added, known, refused = [], 0, {}
    for line in lines:
        key = _read(line)
        if isinstance(key, Invalid):
            refused[kept(line)[:40]] = key.code
        elif await _known(call, key):
            known += 1
        else:
            added.append(_shown(await _add(call, key, comment)))
    return schema.ImportedKeys(added=added, known=known, refused=refused)


def _read(line: str) -> PublicKey | Invalid:
    try:
        return ssh_keys.parse(line)
    except Invalid as error:
        return error


async def _known(call: Call, key: PublicKey) -> bool:
    own = (SshKeyRow.person_id == call.person.person, SshKeyRow.fingerprint == key.fingerprint)
    return (await call.session.execute(select(SshKeyRow.id).where(*own))).first() is not None


async def _add(call: Call, key: PublicKey, comment: str | None) -> SshKeyRow:
    own = select(func.count()).select_from(SshKeyRow).where(SshKeyRow.person_id == call.person.person)
    if (await call.session.execute(own)).scalar_one() >= _AT_MOST:
        raise Conflict("too_many_keys", count=_AT_MOST)
    row = SshKeyRow(
        person_id=call.person.person,
        fingerprint=key.fingerprint,
        key=key.text,
        comment=kept(key.comment if comment is None else comment),
        created_at=now(),
    )
    call.session.add(row)
    await call.session.flush()
    await call.note("ssh_key.add", f"ssh_key/{key.fingerprint}", comment=row.comment)
    return row


def _shown(row: SshKeyRow) -> schema.SshKey:
    return schema.SshKey(
        id=row.id,
        kind=row.key.partition(" ")[0],
        fingerprint=row.fingerprint,
        comment=row.comment,
        key=row.key,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
    )
