"""One request as a handler sees it: who calls, with which permission, in which transaction."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Forbidden, NotSignedIn
from kqi_hub.i18n import COOKIE, LANGUAGES, choose
from kqi_hub.identity import people, tokens
from kqi_hub.identity.model import Principal
from kqi_hub.identity.policy import Permission
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret

Feature = TypeVar("Feature")
SignIn = Callable[[Request], Awaitable[Principal | None]]
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(slots=True, kw_only=True)
class Platform:
    """What every request shares. `browser` finds out who a request without a token is; `service` is the hub's token."""

    settings: Settings
    database: Database
    service: Secret
    browser: SignIn
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
        """The caller's rows: all tenants where they have the route's permission; new rows go to the one chosen."""
        return self.reading(self.session)

    def reading(self, session: AsyncSession) -> TenantScope:
        """The same rows in a transaction of the handler's own, for what must not wait for the file system."""
        allowed = self.person.tenants(self.permission)
        return TenantScope(
            session,
            person=self.person.person,
            tenants=allowed.values(),
            tenant=self.person.choose(self.permission, self.tenant),
        )

    @property
    def collection(self) -> TenantScope:
        """The rows of the one tenant chosen."""
        tenant = self.person.choose(self.permission, self.tenant)
        return TenantScope(self.session, person=self.person.person, tenants=[tenant], tenant=tenant)


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
        call.principal = await _sign_in(request, platform)
        call.speak(call.principal.language)
        _check_permission(call.principal, permission)
    return call


async def _collection_call(
    call: Annotated[Call, Depends(_call)],
    tenant: Annotated[
        str | None, Query(description="Name of the tenant; else the token's or the default one", max_length=63)
    ] = None,
) -> Call:
    call.tenant = tenant
    return call


Caller = Annotated[Call, Depends(_call)]
CollectionCaller = Annotated[Call, Depends(_collection_call)]


async def _sign_in(request: Request, platform: Platform) -> Principal:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme:
        found = await _by_token(platform, text.strip()) if scheme.lower() in {"bearer", "token"} else None
        if found is None:
            raise NotSignedIn("token_not_valid")
        return found
    principal = await platform.browser(request)
    if principal is None:
        raise NotSignedIn("not_signed_in")
    return principal


async def _by_token(platform: Platform, text: str) -> Principal | None:
    at = now()
    async with platform.database.read() as session:
        found = await tokens.find(session, text, at)
        principal = await people.principal(session, found[1], found[0]) if found else None
    if found and tokens.stale(found[0], at):
        async with platform.database.write() as session:
            await tokens.used(session, found[0].id, at)
    return principal


def _check_service(request: Request, platform: Platform) -> None:
    given = request.headers.get("authorization", "").encode()
    for scheme in ("Bearer", "token"):
        if secrets.compare_digest(given, f"{scheme} {platform.service.reveal()}".encode()):
            return
    raise NotSignedIn("token_not_valid")


def _check_permission(principal: Principal, permission: Permission) -> None:
    if permission is Permission.SIGNED_IN:
        return
    if permission is Permission.PLATFORM:
        if not principal.administrator or principal.run_key is not None:
            raise Forbidden("not_permitted", permission=permission.value)
    elif not principal.tenants(permission):
        raise Forbidden("not_permitted", permission=permission.value)
