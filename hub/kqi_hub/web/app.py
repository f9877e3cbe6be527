"""The application: routes of all features under one prefix."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kqi import __version__, schema
from kqi_hub.settings import STRICT_TRANSPORT
from kqi_hub.web import problems
from kqi_hub.web.call import Platform
from kqi_hub.web.routes import Routes

BASE = "/services/kqi"
API = f"{BASE}/api/v1"

MAX_BODY = 64 * 2**20

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

# As the hub has it: longer than others leave a connection alone, else one is closed just as it is used again.
KEEP_ALIVE_S = 3600
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def create(platform: Platform, api: Iterable[Routes], pages: Iterable[Routes], lifespan: Lifespan) -> FastAPI:
    app = FastAPI(
        title="KQI Hub",
        version=__version__,
        description="AI development platform on JupyterHub. Errors are RFC 9457 problem details with a stable `code`.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.platform = platform
    problems.install(app)
    app.add_middleware(_Guard, headers={**_HEADERS, **(STRICT_TRANSPORT if platform.settings.secure else {})})
    for routes in api:
        app.include_router(routes.router, prefix=API)
    for routes in pages:
        app.include_router(routes.router, prefix=BASE, include_in_schema=False)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the description, with the problem details to which every operation refers."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        problem = schema.Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        document["components"]["schemas"] |= {**problem.pop("$defs", {}), "Problem": problem}
        app.openapi_schema = document
    return app.openapi_schema


class _Guard:
    """Adds our headers to every answer and bounds what is sent; plain ASGI, so that streams are passed on as they come.

    A body that becomes a model is read before anybody is asked who they are.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Which route it is, is known by the time that somebody reads.
            if received > MAX_BODY and not getattr(scope.get("endpoint"), "streams", False):
                raise HTTPException(413, headers={"Connection": "close"})  # else the rest would be read, for nothing
            return message

        await self._app(scope, receive_bounded, send_with_headers)
