"""A small KQI Hub for tests of its clients: it keeps what it is sent and checks every hash, but runs nothing.

A training ends at once; its exit code is the last word of a command `exit N`. A command `hold` stays running until
the test calls `finish`. Faults are put in front of requests with `stub.faults`.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from . import stub_data, stub_runs
from .stub_state import API, TOKEN, Fault, Refused, Stub, problem


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """Serve on a free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        stub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            Faulty(app(stub), stub), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            for fault in stub.faults:
                fault.released.set()
            server.should_exit = True
            thread.join(10)


class Faulty:
    """Records requests and lets some of them go wrong."""

    def __init__(self, inner: Any, stub: Stub) -> None:
        self.inner = inner
        self.stub = stub

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        stub, path = self.stub, scope["path"].removeprefix(API)
        stub.loop = asyncio.get_running_loop()
        stub.changed = stub.changed or asyncio.Condition()
        stub.requests.append((scope["method"], path))
        stub.headers.append({name.decode(): value.decode("latin-1") for name, value in scope["headers"]})
        fault = next((fault for fault in stub.faults if _fits(fault, scope["method"], path)), None)
        if fault is None:
            await self.inner(scope, receive, send)
        elif fault.kind == "refuse":
            await problem(fault.status, "unavailable", "later", {"retry-after": "0"})(scope, receive, send)
        elif fault.kind == "hold":
            fault.held.set()
            await asyncio.to_thread(fault.released.wait)
        else:
            await self.inner(scope, receive, _Cutting(send, fault.after))


def _fits(fault: Fault, method: str, path: str) -> bool:
    if fault.method != method or not re.fullmatch(fault.path, path) or fault.times == 0:
        return False
    if fault.skip:
        fault.skip -= 1
        return False
    fault.times -= 1
    return True


class _Cutting:
    def __init__(self, send: Any, after: int) -> None:
        self.send = send
        self.left = after

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            await self.send({**message, "headers": [*message["headers"]]})
            return
        body = message.get("body", b"")
        if len(body) >= self.left:
            await self.send({"type": "http.response.body", "body": body[: self.left], "more_body": True})
            raise ConnectionResetError("cut by the test")
        self.left -= len(body)
        await self.send({**message, "more_body": True})


def app(stub: Stub) -> FastAPI:
    api = FastAPI()

    @api.exception_handler(Refused)
    async def refuse(request: Request, error: Refused) -> Response:
        return problem(*error.answer)

    @api.middleware("http")
    async def signed_in(request: Request, call_next: Any) -> Response:
        path = request.url.path
        free = path.startswith("/hub/") or path.startswith(f"{API}/device") or path == f"{API}/version"
        if not free and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "not_signed_in", "Sign in first.")
        if free and "authorization" in request.headers and path.startswith("/hub/"):
            return problem(400, "unexpected_token", "no token is needed here")
        return await call_next(request)

    stub_data.accounts(api, stub)
    stub_data.store(api, stub)
    stub_data.data(api, stub)
    stub_data.datasets(api, stub)
    for kind in ("training", "notebook"):
        stub_runs.runs(api, stub, kind)
    return api


__all__ = ["API", "TOKEN", "Fault", "Stub", "app", "serving"]
