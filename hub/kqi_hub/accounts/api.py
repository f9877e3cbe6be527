"""Routes of one's own account."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path
from sqlalchemy import delete, select, update

from kqi import __version__, schema
from kqi_hub.accounts import devices
from kqi_hub.errors import NotFound
from kqi_hub.identity import people, tokens
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import PersonRow, TokenRow
from kqi_hub.ids import TenantId
from kqi_hub.web.call import Caller
from kqi_hub.web.routes import Routes

routes = Routes("account")


@routes.get("/version", permission=Permission.PUBLIC)
async def get_version(call: Caller) -> schema.Version:
    return schema.Version(version=__version__)


@routes.get("/me", permission=Permission.SIGNED_IN)
async def get_me(call: Caller) -> schema.Person:
    return _person(call.person)


@routes.patch("/me", permission=Permission.SIGNED_IN)
async def change_me(call: Caller, body: schema.ChangePerson) -> schema.Person:
    """Change display name, language or default tenant; what is left out stays as it is."""
    values: dict[str, object] = {}
    if body.display_name is not None:
        values["display_name"] = body.display_name
    if body.language is not None:
        values["language"] = body.language
    if body.default_tenant is not None:
        values["default_tenant_id"] = _own_tenant(call.person, body.default_tenant)
    if values:
        await call.session.execute(update(PersonRow).where(PersonRow.id == call.person.person).values(**values))
    row = await call.session.get_one(PersonRow, call.person.person, populate_existing=True)
    return _person(await people.principal(call.session, row))


@routes.get("/tokens", permission=Permission.SIGNED_IN)
async def list_tokens(call: Caller) -> schema.Page[schema.Token]:
    query = select(TokenRow).where(TokenRow.person_id == call.person.person, TokenRow.run_key.is_(None))
    rows = (await call.session.execute(query.order_by(TokenRow.id.desc()).limit(1000))).scalars().all()
    return schema.Page(items=[_token(row) for row in rows])


@routes.post("/tokens", permission=Permission.SIGNED_IN, status=201)
async def create_token(call: Caller, body: schema.CreateToken) -> schema.NewToken:
    """Make a token; its text is in this answer and nowhere else."""
    _not_by_a_run(call.person)
    secret, row = await tokens.create(call.session, call.person.person, body.name, lasts=timedelta(days=body.days))
    return schema.NewToken(token=secret.reveal(), info=_token(row))


@routes.delete("/tokens/current", permission=Permission.SIGNED_IN)
async def revoke_current_token(call: Caller) -> None:
    """Revoke the token that this request came with, as a program does that signs out."""
    _not_by_a_run(call.person)
    if call.person.token is None:
        raise NotFound("token", "current")
    await call.session.execute(delete(TokenRow).where(TokenRow.id == call.person.token))


@routes.delete("/tokens/{token_id}", permission=Permission.SIGNED_IN)
async def revoke_token(call: Caller, token_id: Annotated[int, Path(ge=1, le=2**53 - 1)]) -> None:
    _not_by_a_run(call.person)
    row = await call.session.get(TokenRow, token_id)
    if row is None or row.person_id != call.person.person or row.run_key is not None:
        raise NotFound("token", token_id)
    await call.session.delete(row)


@routes.post("/device", permission=Permission.PUBLIC)
async def start_device(call: Caller, body: schema.StartDevice) -> schema.Device:
    """Begin to sign a program in; a person approves it in the browser."""
    begun = await devices.begin(call.session, body.client)
    address = f"{call.platform.settings.url}/services/kqi/device"
    return schema.Device(
        device_code=begun.device_code.reveal(),
        user_code=begun.user_code,
        verification_uri=address,
        verification_uri_complete=f"{address}?code={begun.user_code}",
        expires_in=devices.LIFE_S,
        interval=devices.INTERVAL_S,
    )


@routes.post("/device/token", permission=Permission.PUBLIC)
async def redeem_device(call: Caller, body: schema.RedeemDevice) -> schema.NewToken:
    secret, row = await devices.redeem(call.session, body.device_code)
    return schema.NewToken(token=secret.reveal(), info=_token(row))


def _person(person: Principal) -> schema.Person:
    names = {member.tenant: member.name for member in person.memberships}
    return schema.Person(
        id=person.person,
        name=person.name,
        display_name=person.display_name,
        administrator=person.administrator,
        language=person.language,
        default_tenant=names.get(person.default_tenant, ""),
        tenants=[schema.Tenant(name=member.name, display_name=member.display_name) for member in person.memberships],
    )


def _own_tenant(person: Principal, name: str) -> TenantId:
    for member in person.memberships:
        if member.name == name:
            return member.tenant
    raise NotFound("tenant", name)


def _token(row: TokenRow) -> schema.Token:
    return schema.Token(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at or row.created_at,
        last_used_at=row.last_used_at,
    )


def _not_by_a_run(person: Principal) -> None:
    """The token of a run must not be able to make itself one that outlives it."""
    if person.run_key is not None:
        raise NotFound("token", "")
