"""Answers to programs inside the hub."""

from http import HTTPStatus
from typing import Any

from kqi import schema
from kqi_hub.i18n import choose, text


def problem(handler: Any, status: int, code: str, **params: Any) -> None:
    """Finish with a problem document in the language of whoever asked."""
    language = choose(handler.request.headers.get("Accept-Language", ""))
    cause = [text(str(params["cause"]), language)] if "cause" in params else []
    body = schema.Problem(
        type=f"urn:kqi:error:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=" ".join([text(code, language, params), *cause]),
        params=params,
    )
    handler.set_status(status)
    handler.set_header("Content-Type", "application/problem+json")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        handler.set_header("Retry-After", str(params["retry_after_s"]))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        handler.set_header("Retry-After", "5")
    handler.finish(body.model_dump_json())
