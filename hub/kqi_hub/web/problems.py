"""Errors as RFC 9457 problem details; the one table from our errors to HTTP is `KqiError.status`."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kqi import schema
from kqi.faults import explain
from kqi_hub.errors import Forbidden, KqiError, NotSignedIn, TooMany, Unavailable
from kqi_hub.i18n import Phrase, choose, text
from kqi_hub.web.call import Call

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_BY_STATUS = {404: "route_unknown", 405: "method_unknown", 400: "body_unreadable", 413: "body_too_large"}


def install(app: FastAPI) -> None:
    app.add_exception_handler(KqiError, _known)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _foreign)


def problem(
    request: Request,
    status: int,
    code: str,
    params: dict[str, Any] | None = None,
    errors: list[schema.FieldError] | None = None,
) -> JSONResponse:
    language = _language(request)
    plain = {key: _plain(value, language) for key, value in (params or {}).items()}
    body = schema.Problem(
        type=f"urn:kqi:error:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=text(code, language, plain),
        params=plain,
        errors=errors or [],
    )
    return JSONResponse(body.model_dump(), status, media_type=MEDIA_TYPE, headers={"Content-Language": language})


def _plain(value: object, language: str) -> int | float | str:
    if isinstance(value, Phrase):
        return value.said(language)
    return value if isinstance(value, int | float) else str(value)


def _language(request: Request) -> str:
    return choose(request.headers.get("accept-language", ""), getattr(request.state, "language", None))


async def _known(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, KqiError):
        raise error
    if isinstance(error, Forbidden | NotSignedIn):
        await _on_record(request, error)
    if error.status >= 500:
        log.error("request failed", extra={"code": error.code}, exc_info=error)
    response = problem(request, error.status, error.code, dict(error.params))
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = "5"
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _on_record(request: Request, error: Forbidden | NotSignedIn) -> None:
    """Put a refusal on record, by what the description of the API calls the operation.

    Not of strangers, who are asked to sign in.
    """
    call = getattr(request.state, "caller", None)
    if isinstance(call, Call) and (call.principal is not None or isinstance(error, Forbidden)):
        thing = request.url.path.removeprefix("/services/kqi/").removeprefix("api/v1/")
        tenant = error.tenant if isinstance(error, Forbidden) else None
        entry = call.refusal(request.scope["endpoint"].__name__, thing, error.code, tenant=tenant)
        await call.platform.refusals.note(entry)


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    language = _language(request)
    faults = [
        schema.FieldError(
            field=".".join(str(part) for part in fault["loc"])[:200].encode("utf-8", "replace").decode(),
            message=explain(fault, language)[:500],
        )
        for fault in error.errors()[:50]
    ]
    named = ", ".join(f"{fault.field}: {fault.message}" for fault in faults[:3])
    return problem(request, 422, "invalid_request", {"fields": named}, faults)


async def _foreign(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    response = problem(request, error.status_code, _BY_STATUS.get(error.status_code, "request_refused"))
    response.headers.update(error.headers or {})
    return response
