"""Our own pages: templates with texts in the reader's language and a policy that lets nothing foreign run."""

from functools import cache
from pathlib import Path

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from kqi_hub.i18n import COOKIE, LANGUAGES, NAMES, text
from kqi_hub.web.call import Call

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_YEAR_S = 365 * 86_400


def page(call: Call, name: str, **values: object) -> Response:
    """Return the page `name` with `t(key, …)` for texts."""

    def translate(key: str, **params: object) -> str:
        return text(key, call.language, params)

    values = {"notes": call.platform.settings.texts.shown(call.language), **values}
    body = _templates().get_template(name).render(t=translate, language=call.language, languages=NAMES, **values)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Content-Language": call.language}
    answer = HTMLResponse(body, headers=headers)
    if call.request.query_params.get("lang") in LANGUAGES:
        secure = call.platform.settings.secure
        answer.set_cookie(
            COOKIE, call.language, max_age=_YEAR_S, path="/", secure=secure, httponly=True, samesite="lax"
        )
    return answer


@cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
