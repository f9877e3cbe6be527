"""The language of whoever reads a page of the hub's."""

from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from tornado.web import RequestHandler

from kqi_hub.i18n import COOKIE, LANGUAGES, choose, text


def language_of(handler: RequestHandler) -> str:
    asked = handler.get_query_argument("lang", "")
    chosen = asked if asked in LANGUAGES else handler.get_cookie(COOKIE)
    return choose(str(handler.request.headers.get("Accept-Language", "")), chosen)


@pass_context
def t(context: Context, key: str, **params: object) -> str:
    """The text of `key`, in templates that the hub itself renders."""
    return text(key, language(context), params)


@pass_context
def language(context: Context) -> str:
    # `static_url` is a method of the handler: the one way to the request that the hub's templates are given.
    handler: Any = context["static_url"].__self__
    return language_of(handler)
