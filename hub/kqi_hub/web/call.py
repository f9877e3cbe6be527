"""One request as a handler sees it: who calls, with which permission, in which transaction."""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit import log as audit
from kqi_hub.audit.act import Act, entry_of
from kqi_hub.audit.refusals import Refusals
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Origin, Reach, TenantScope
from kqi_hub.errors import Forbidden, NotSignedIn
from kqi_hub.i18n import COOKIE, LANGUAGES, choose
from kqi_hub.identity import people, tokens
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import OVER, Permission
from kqi_hub.identity.rows import TokenRow
from kqi_hub.settings import Settings
from kqi_hub.terms import service as terms
from kqi_hub.vault import Vault
from kqi_spawner.workload import Secret

Feature = TypeVar("Feature")
_OWN = {Permission.SIGNED_IN, Permission.ACCOUNT_MANAGE}


class Browser(Protocol):
    """Finds out who a request without a token is."""

    async def principal(self, request: Request) -> Principal | None: ...

    def check_form(self, request: Request) -> None:
        """Raise Forbidden for a change that another site may have had the browser send."""


@dataclass(slots=True, kw_only=True)
class Platform:
    """What every request shares. `service` is the hub's token."""

    settings: Settings
    database: Database
    service: Secret
    vault: Vault
    browser: Browser
    refusals: Refusals
    everybody: frozenset[Permission] = frozenset()  # rights over the platform that all have here
    features: dict[type[Any], Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Call:
    """`scope` and `session` exist while the handler runs; work in `after` is done once its transaction is committed."""

    request: Request
    platform: Platform
    permission: Permission
    principal: Principal | None
    tenant: str | None
    language: str
    shared: bool = False
    after: list[Callable[[], None]] = field(default_factory=list)
    opened: AsyncSession | None = None

    def speak(self, language: str | None) -> None:
        """Speak what this browser chose, else `language` of the person's account, else what the request accepts."""
        asked = self.request.query_params.get("lang", "")
        chosen = asked if asked in LANGUAGES else self.request.cookies.get(COOKIE)
        wanted = chosen if chosen in LANGUAGES else language
        self.language = choose(self.request.headers.get("accept-language", ""), wanted)
        self.request.state.language = self.language

    @property
    def session(self) -> AsyncSession:
        if self.opened is None:
            raise AssertionError("no transaction outside of a handler")
        return self.opened

    @property
    def person(self) -> Principal:
        if self.principal is None:
            raise NotSignedIn("not_signed_in")
        return self.principal

    @property
    def scope(self) -> TenantScope:
        """What exists for the caller in all their tenants, and what is shared; new rows go to the one chosen."""
        return self.reading(self.session)

    def reading(self, session: AsyncSession) -> TenantScope:
        """The same rows in a transaction of the handler's own, for what must not wait for the file system."""
        return self._scope(session, self.person.seen(self.permission)).with_shared()

    @property
    def listed(self) -> TenantScope:
        """The rows of the one tenant chosen, or instead those that others share with it and with the caller."""
        return self.collection.only_shared() if self.shared else self.collection

    @property
    def collection(self) -> TenantScope:
        """The rows of the one tenant chosen."""
        return self._scope(self.session, [self.person.choose(self.permission, self.tenant)])

    def _scope(self, session: AsyncSession, tenants: Collection[int]) -> TenantScope:
        person = self.person
        reach = Reach(
            own=frozenset(person.tenants(self.permission).values()),
            whole=person.whole(self.permission),
            archived=person.archived,
            recipient=person.recipient,
        )
        return TenantScope(
            session,
            person=person.person,
            tenants=tenants,
            tenant=person.choose(self.permission, self.tenant),
            origin=self.origin,
            reach=reach,
        )

    @property
    def act(self) -> Act:
        """The caller in this transaction, for what belongs to no scope of a tenant's things."""
        return self.acting(self.session)

    def acting(self, session: AsyncSession) -> Act:
        """The caller in a transaction that a handler ends before it answers."""
        return Act(session=session, person=self.person, origin=self.origin)

    async def note(self, action: str, thing: str, *, tenant: int | None = None, **details: object) -> None:
        """Put on record what the caller did beyond any one tenant, in the handler's transaction."""
        await self.act.note(action, thing, tenant=tenant, **details)

    def entry(self, action: str, thing: str, *, details: str = "{}") -> audit.Entry:
        """Return the entry of the audit log for something that the caller did."""
        return entry_of(self.person, self.origin, action, thing, details=details)

    def refusal(self, action: str, thing: str, code: str, *, tenant: int | None) -> audit.Entry:
        """Return the entry for what was refused, in `tenant`, else in the one that the request names."""
        entry = audit.Entry(action=action, thing=thing, refused=code, address=self.origin.address)
        if self.principal is None:
            return entry
        named = self.request.path_params.get("tenant") or self.request.query_params.get("tenant")
        of_name = {member.name: member.tenant for member in self.principal.memberships}
        where = tenant or of_name.get(named or "") or self.principal.only_tenant
        return replace(entry, person=self.principal.person, token=self.origin.token, tenant=where)

    @property
    def origin(self) -> Origin:
        return Origin(address=address_of(self.request), token=self.principal.token if self.principal else None)


def address_of(request: Request) -> str:
    """Return the network address that a request came from."""
    return request.client.host if request.client else ""


def feature(kind: type[Feature]) -> Any:
    """Return the dependency that hands a handler the platform's one object of `kind`."""

    def find(request: Request) -> Feature:
        found: Feature = request.app.state.platform.features[kind]
        return found

    return Depends(find)


_bearer = HTTPBearer(auto_error=False, description="A token of `kqi login`, or the token of a run")


async def _call(request: Request, _scheme: Annotated[object, Security(_bearer)] = None) -> Call:
    platform: Platform = request.app.state.platform
    permission: Permission = request.scope["endpoint"].permission
    call = Call(
        request=request,
        platform=platform,
        permission=permission,
        principal=None,
        tenant=None,
        language="",
    )
    call.speak(None)
    if permission is Permission.SERVICE:
        _check_service(request, platform)
    elif permission is not Permission.PUBLIC:
        request.state.caller = call
        call.principal = await _sign_in(call)
        call.speak(call.principal.language)
        _check_permission(call.principal, permission, platform.everybody)
    return call


async def _collection_call(
    call: Annotated[Call, Depends(_call)],
    tenant: Annotated[
        str | None, Query(description="Name of the tenant; else the token's or the default one", max_length=63)
    ] = None,
) -> Call:
    call.tenant = tenant
    return call


async def _list_call(
    call: Annotated[Call, Depends(_collection_call)],
    shared: Annotated[bool, Query(description="Only what others share with the caller or the tenant")] = False,
) -> Call:
    call.shared = shared
    return call


Caller = Annotated[Call, Depends(_call)]
CollectionCaller = Annotated[Call, Depends(_collection_call)]
ListCaller = Annotated[Call, Depends(_list_call)]


async def _sign_in(call: Call) -> Principal:
    """Return who calls; who is known is noted in `call` before they are refused."""
    request, platform = call.request, call.platform
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme:
        known = scheme.lower() in {"bearer", "token"}
        found = await _by_token(call, text.strip()) if known else None
        if found is None:
            raise NotSignedIn("token_not_valid")
        return found
    principal = await platform.browser.principal(request)
    if principal is None:
        raise NotSignedIn("not_signed_in")
    call.principal = principal
    platform.browser.check_form(request)
    async with platform.database.read() as session:
        await _check_terms(session, request, principal)
    return principal


async def _by_token(call: Call, text: str) -> Principal | None:
    at, database = now(), call.platform.database
    async with database.read() as session:
        found = await tokens.find(session, text)
        if found is None:
            return None
        token, person = found
        call.principal = principal = await people.principal(session, person, token)
        if tokens.ended(token, at) and not person.disabled:  # who is suspended is told so
            return None
        if not principal.suspended:
            await _check_terms(session, call.request, principal, token)
    if not principal.suspended and tokens.stale(token, at):
        async with database.write() as session:
            await tokens.used(session, token.id, at, address_of(call.request))
    return principal


async def _check_terms(
    session: AsyncSession, request: Request, principal: Principal, token: TokenRow | None = None
) -> None:
    """Raise Forbidden for who has yet to accept the terms; their own account they may see and change, to do so."""
    endpoint = request.scope["endpoint"]
    if endpoint.before_terms or endpoint.permission in _OWN:
        return
    version = await terms.keeps_out(session, principal.person, token)
    if version:
        raise Forbidden("terms_not_accepted", version=version)


def _check_service(request: Request, platform: Platform) -> None:
    given = request.headers.get("authorization", "").encode()
    for scheme in ("Bearer", "token"):
        if secrets.compare_digest(given, f"{scheme} {platform.service.reveal()}".encode()):
            return
    raise NotSignedIn("token_not_valid")


def _check_permission(principal: Principal, permission: Permission, everybody: Collection[Permission]) -> None:
    """Raise Forbidden for who is suspended, or has the right nowhere; in which tenants, their scope says."""
    if principal.suspended:
        raise Forbidden("account_disabled")
    over = OVER.get(permission)
    if permission is Permission.SIGNED_IN or (permission in everybody and principal.lets_over(permission)):
        return
    if principal.may(permission) or principal.anywhere(permission) or (over is not None and principal.may(over)):
        return
    raise Forbidden("not_permitted", permission=permission.value)
