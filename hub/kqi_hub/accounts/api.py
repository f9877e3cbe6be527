"""Routes of one's own account: who one is, and signing a program in."""

from zoneinfo import available_timezones

from sqlalchemy.ext.asyncio import AsyncSession

from kqi import __version__, schema
from kqi_hub.accounts import devices, tokens_api
from kqi_hub.audit import log as audit
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import LOCAL, PersonRow, TokenRow
from kqi_hub.ids import TenantId
from kqi_hub.terms import service as terms
from kqi_hub.web.call import Call, Caller
from kqi_hub.web.routes import Routes

routes = Routes("account")


@routes.get("/version", permission=Permission.PUBLIC)
async def get_version(call: Caller) -> schema.Version:
    return schema.Version(version=__version__)


@routes.get("/me", permission=Permission.SIGNED_IN)
async def get_me(call: Caller) -> schema.Person:
    """Who one is, and what this very request, with its token, may do."""
    return await _person(call.session, call.person)


@routes.patch("/me", permission=Permission.ACCOUNT_MANAGE)
async def change_me(call: Caller, body: schema.ChangePerson) -> schema.Person:
    """Change the profile. What a directory says of its people is changed there."""
    row = await call.session.get_one(PersonRow, call.person.person)
    asked = body.model_dump(exclude_none=True)
    for name in ("display_name", "email"):
        if row.source != LOCAL and asked.get(name) not in {None, getattr(row, name)}:
            raise Conflict("profile_of_directory", field=name, source=row.source)
    if asked.get("time_zone") and asked["time_zone"] not in available_timezones():
        raise Invalid("time_zone_unknown", name=asked["time_zone"])
    if "default_tenant" in asked:
        row.default_tenant_id = _own_tenant(call.person, asked.pop("default_tenant"))
    for name, value in asked.items():
        setattr(row, name, value or None if name == "time_zone" else value)
    await call.session.flush()
    await call.note("account.change", f"person/{row.name}", fields=sorted(body.model_fields_set))
    token = await call.session.get(TokenRow, call.person.token) if call.person.token else None
    return await _person(call.session, await people.principal(call.session, row, token))


@routes.post("/device", permission=Permission.PUBLIC)
async def start_device(call: Caller, body: schema.StartDevice) -> schema.Device:
    """Begin to sign a program in; a person approves it in the browser."""
    begun = await devices.begin(call.session, body.client, call.origin.address)
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
    await _note_device(call, row)
    return schema.NewToken(token=secret.reveal(), info=await tokens_api.shown(call.session, row))


async def _note_device(call: Call, row: TokenRow) -> None:
    made = audit.Entry(
        action="token.create", thing=f"token/{row.id}", person=row.person_id, address=call.origin.address
    )
    await audit.append(call.session, made)


async def _person(session: AsyncSession, person: Principal) -> schema.Person:
    row = await session.get_one(PersonRow, person.person)
    newest = await terms.current(session)
    names = {member.tenant: member.name for member in person.memberships}
    return schema.Person(
        id=person.person,
        name=person.name,
        display_name=person.display_name,
        administrator=person.administrator,
        language=person.language,
        default_tenant=names.get(person.default_tenant, ""),
        tenants=[schema.Tenant(name=member.name, display_name=member.display_name) for member in person.memberships],
        email=row.email,
        time_zone=row.time_zone,
        source=row.source,
        capabilities=sorted(permission.value for permission in person.capabilities()),
        token=await _token(session, person, names) if person.token else None,
        terms=schema.TermsState(current=newest.version, accepted=await terms.accepted(session, person.person))
        if newest
        else None,
    )


async def _token(session: AsyncSession, person: Principal, names: dict[TenantId, str]) -> schema.PresentToken | None:
    row = await session.get(TokenRow, person.token)
    if row is None:
        return None
    tenant = names.get(person.only_tenant, "") if person.only_tenant else None
    run = row.run_key is not None
    return schema.PresentToken(id=row.id, name=row.name, run=run, tenant=tenant, expires_at=row.expires_at)


def _own_tenant(person: Principal, name: str) -> TenantId:
    for member in person.memberships:
        if member.name == name:
            return member.tenant
    raise NotFound("tenant", name)
