"""Routes that declare their permission, run in one transaction, and answer repeated requests alike."""

import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from kqi import schema
from kqi_hub.clock import now
from kqi_hub.errors import Conflict, Invalid, Outdated
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import IdempotencyRow
from kqi_hub.storage.store import answering_disk_errors
from kqi_hub.web.call import Call
from kqi_hub.web.problems import MEDIA_TYPE
from kqi_spawner.workload import Secret

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
_KEY = "idempotency-key"
_JSON = "application/json"


class Routes:
    """Collects a feature's routes; `router` is what the application includes.

    `before_terms`: they are there for who has yet to accept the terms of service.
    """

    def __init__(self, tag: str, *, before_terms: bool = False) -> None:
        self.router = APIRouter(tags=[tag])
        self._before_terms = before_terms

    def get(self, path: str, *, permission: Permission, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("GET", path, permission, 200, options)

    def post(
        self, path: str, *, permission: Permission, status: int = 200, **options: Any
    ) -> Callable[[Handler], Handler]:
        return self._route("POST", path, permission, status, options)

    def put(
        self, path: str, *, permission: Permission, status: int = 200, **options: Any
    ) -> Callable[[Handler], Handler]:
        return self._route("PUT", path, permission, status, options)

    def patch(self, path: str, *, permission: Permission, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("PATCH", path, permission, 200, options)

    def delete(
        self, path: str, *, permission: Permission, status: int = 204, **options: Any
    ) -> Callable[[Handler], Handler]:
        return self._route("DELETE", path, permission, status, options)

    def _route(
        self, method: str, path: str, permission: Permission, status: int, options: dict[str, Any]
    ) -> Callable[[Handler], Handler]:

        def register(handler: Handler) -> Handler:
            @functools.wraps(handler)
            async def endpoint(**inputs: Any) -> Response:
                with answering_disk_errors():
                    return await _answer(handler, inputs, method, status)

            endpoint.permission = permission  # type: ignore[attr-defined]
            endpoint.before_terms = self._before_terms  # type: ignore[attr-defined]
            # What the operation needs, for who reads the description or makes a table of it.
            described = {**options.pop("openapi_extra", {}), "x-permission": permission.value}
            # A route that describes its body itself reads it as it comes, and bounds it.
            endpoint.streams = "requestBody" in described  # type: ignore[attr-defined]
            # By name, and described once in `app`: to make a model of it for each of a thousand answers takes seconds.
            content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            problems = {code: {"content": content, "description": text} for code, text in _answers(permission).items()}
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                responses={**problems, **options.pop("responses", {})},
                operation_id=handler.__name__,
                openapi_extra=described,
                **options,
            )
            return handler

        return register


def _answers(permission: Permission) -> dict[int | str, str]:
    found: dict[int | str, str] = {
        404: "There is no such thing, or none that the caller may know of",
        412: "It was changed meanwhile",
        409: "It would break a rule as things stand",
        413: "Too large",
        422: "The request was not understood",
        429: "Too many requests",
        503: "Try again later",
        400: "The body was not understood",
    }
    if permission is not Permission.PUBLIC:
        found |= {401: "Not signed in", 403: "Not permitted"}
    return found


async def _answer(handler: Callable[..., Awaitable[Any]], inputs: dict[str, Any], method: str, status: int) -> Response:
    call: Call = inputs["call"]
    key = call.request.headers.get(_KEY)
    # Only creates with a JSON body: the bytes of an upload are idempotent by their hash.
    typed = call.request.headers.get("content-type", "").startswith(_JSON)
    if key is None or method != "POST" or not typed or call.principal is None:
        return await _run(handler, inputs, method, status)
    if not 0 < len(key) <= 255:
        raise Invalid("idempotency_key_length")
    wanted = await _fingerprint(call)
    async with call.platform.database.read() as session:
        known = await _known(session, call, key)
    if known is None:
        try:
            return await _run(handler, inputs, method, status, remember=(key, wanted))
        except IntegrityError:
            # Somebody with the same key was faster: their answer is ours.
            async with call.platform.database.read() as session:
                known = await _known(session, call, key)
            if known is None:
                raise
    if known.request_hash != wanted:
        raise Conflict("idempotency_key_reused")
    body = known.body if known.sealed is None else call.platform.vault.open(known.sealed).reveal()
    return Response(body, known.status, {"Idempotent-Replayed": "true"}, media_type=_JSON)


async def _run(
    handler: Callable[..., Awaitable[Any]],
    inputs: dict[str, Any],
    method: str,
    status: int,
    remember: tuple[str, str] | None = None,
) -> Response:
    call: Call = inputs["call"]
    database = call.platform.database
    async with database.read() if method == "GET" else database.write() as session:
        call.opened = session
        answer = await handler(**inputs)
        response = _response(answer, status)
        if remember:
            session.add(_remembered(call, remember, answer, response))
    call.opened = None
    for then in call.after:
        then()
    return _conditional(call, response) if method == "GET" and isinstance(answer, BaseModel) else response


def _remembered(call: Call, remember: tuple[str, str], answer: object, response: Response) -> IdempotencyRow:
    body = bytes(response.body).decode()
    revealing = isinstance(answer, schema.Revealing)
    return IdempotencyRow(
        person_id=call.person.person,
        key=remember[0],
        request_hash=remember[1],
        status=response.status_code,
        body="" if revealing else body,
        sealed=call.platform.vault.seal(Secret(body)) if revealing else None,
        created_at=now(),
    )


def _response(answer: object, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, BaseModel):
        return Response(answer.model_dump_json(), status, media_type=_JSON)
    return Response(status_code=204 if status == 200 else status)


def check_unchanged(call: Call, as_it_is: BaseModel) -> None:
    """Raise Outdated unless `If-Match` names the thing as it is: somebody else has changed it, or nobody has looked."""
    given = [tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-match", "").split(",")]
    if _etag(as_it_is.model_dump_json().encode()) not in given:
        raise Outdated("changed_meanwhile")


def conditional(answer: BaseModel) -> Response:
    """Return the answer to a change with the `ETag` that a reader of the same thing gets."""
    body = answer.model_dump_json().encode()
    return Response(body, 200, {"ETag": _etag(body)}, media_type=_JSON)


def _etag(body: bytes | memoryview) -> str:
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def _conditional(call: Call, response: Response) -> Response:
    etag = _etag(response.body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie, Accept-Language"}
    given = [tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-none-match", "").split(",")]
    if etag in given:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


async def _fingerprint(call: Call) -> str:
    body = await call.request.body()
    return hashlib.sha256(
        b"\0".join([str(call.request.url.path).encode(), call.request.url.query.encode(), body])
    ).hexdigest()


async def _known(session: AsyncSession, call: Call, key: str) -> IdempotencyRow | None:
    query = select(IdempotencyRow).where(IdempotencyRow.person_id == call.person.person, IdempotencyRow.key == key)
    return (await session.execute(query)).scalar_one_or_none()
