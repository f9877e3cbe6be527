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
from kqi_hub.errors import Conflict, Invalid
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import IdempotencyRow
from kqi_hub.storage.store import answering_disk_errors
from kqi_hub.web.call import Call

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
_KEY = "idempotency-key"
_JSON = "application/json"


class Routes:
    """Collects a feature's routes; `router` is what the application includes."""

    def __init__(self, tag: str) -> None:
        self.router = APIRouter(tags=[tag])

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

    def delete(self, path: str, *, permission: Permission, **options: Any) -> Callable[[Handler], Handler]:
        return self._route("DELETE", path, permission, 204, options)

    def _route(
        self, method: str, path: str, permission: Permission, status: int, options: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            @functools.wraps(handler)
            async def endpoint(**inputs: Any) -> Response:
                with answering_disk_errors():
                    return await _answer(handler, inputs, method, status)

            endpoint.permission = permission  # type: ignore[attr-defined]
            problems = {
                code: {"model": schema.Problem, "description": text} for code, text in _answers(permission).items()
            }
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                responses={**problems, **options.pop("responses", {})},
                operation_id=handler.__name__,
                **options,
            )
            return handler

        return register


def _answers(permission: Permission) -> dict[int | str, str]:
    found: dict[int | str, str] = {
        404: "There is no such thing, or none that the caller may know of",
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
    return Response(known.body, known.status, {"Idempotent-Replayed": "true"}, media_type=_JSON)


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
            session.add(
                IdempotencyRow(
                    person_id=call.person.person,
                    key=remember[0],
                    request_hash=remember[1],
                    status=response.status_code,
                    body=bytes(response.body).decode(),
                    created_at=now(),
                )
            )
    call.opened = None
    for then in call.after:
        then()
    return _conditional(call, response) if method == "GET" and isinstance(answer, BaseModel) else response


def _response(answer: object, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, BaseModel):
        return Response(answer.model_dump_json(), status, media_type=_JSON)
    return Response(status_code=204 if status == 200 else status)


def _conditional(call: Call, response: Response) -> Response:
    etag = f'"{hashlib.blake2b(response.body, digest_size=16).hexdigest()}"'
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
