"""A notebook server in a container, and the part of a hub and of a browser that it needs."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.images.containers import Container

_TOKEN, _PERSON = "token-of-the-person", "alice"
_PREFIX = f"/user/{_PERSON}/"
HOME = f"/home/{_PERSON}"
_EXECUTE_S = 60


class _Hub(BaseHTTPRequestHandler):
    """Knows one person and one token."""

    def do_GET(self) -> None:
        if self.path.endswith("/hub/api/user") and _TOKEN in (self.headers.get("Authorization") or ""):
            scopes = [f"access:servers!server={_PERSON}/", f"read:users!user={_PERSON}"]
            return self._answer(200, {"name": _PERSON, "kind": "user", "admin": False, "groups": [], "scopes": scopes})
        if self.path.rstrip("/").endswith("/hub/api"):
            return self._answer(200, {"version": "6.1.1"})
        return self._answer(403, {"status": 403})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, {})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@dataclass(slots=True)
class Lab:
    container: Container
    http: httpx.Client
    address: str  # host:port

    def kernels(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("api/kernelspecs").raise_for_status().json()
        return found

    def execute(self, code: str, kernel: str = "python3") -> str:
        """Run code in a new kernel; return what it printed, or the traceback."""
        started = self.http.post("api/kernels", json={"name": kernel}).raise_for_status().json()
        try:
            return asyncio.run(asyncio.wait_for(self._executed(started["id"], code), _EXECUTE_S))
        except TimeoutError as error:
            raise AssertionError(f"no answer of the kernel:\n{self.container.output[-4000:]}") from error
        finally:
            self.http.delete(f"api/kernels/{started['id']}")

    async def _executed(self, kernel: str, code: str) -> str:
        place = f"ws://{self.address}{_PREFIX}api/kernels/{kernel}/channels"
        socket = await websocket_connect(HTTPRequest(place, headers={"Authorization": f"token {_TOKEN}"}))
        asked = uuid4().hex
        header = {"msg_id": asked, "msg_type": "execute_request", "username": "", "session": uuid4().hex}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": {**header, "version": "5.3", "date": ""}, "parent_header": {}, "metadata": {}}
        await socket.write_message(json.dumps({**message, "content": content, "channel": "shell"}))
        said = ""
        while (text := await socket.read_message()) is not None:
            answer = json.loads(text)
            if answer["parent_header"].get("msg_id") != asked:
                continue
            if answer["msg_type"] == "stream":
                said += answer["content"]["text"]
            elif answer["msg_type"] == "error":
                said += "\n".join(answer["content"]["traceback"])
            elif answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return said
        raise AssertionError(f"the kernel went away:\n{self.container.output[-4000:]}")


@contextmanager
def lab(
    image: str,
    port: int,
    home: Path,
    *,
    program: str = "jupyterhub-singleuser",
    mounts: Mapping[str, Path] | None = None,
    path: str | None = None,
    home_mode: str = "rw",
) -> Iterator[Lab]:
    """Start it as the platform does, and wait until it answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        around = {
            "HOME": HOME,
            "JUPYTERHUB_API_TOKEN": _TOKEN,
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.server_address[1]}/hub/api",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{_PERSON}",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:servers!server={_PERSON}/"]),
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{_PREFIX}oauth_callback",
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": _PREFIX,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{_PREFIX}",
            "JUPYTERHUB_USER": _PERSON,
            **({"PATH": path} if path else {}),
        }
        command = (program, "--ServerApp.port_retries=0", "--ContentsManager.allow_hidden=True")
        places = {f"{HOME}:{home_mode}": home, **(mounts or {})}
        try:
            with Container(
                image=image, entrypoint=("/bin/sh", "-c", 'exec "$@"', "sh"), command=command, environment=around,
                mounts=places, network=True,
            ) as container:  # fmt: skip
                client = httpx.Client(
                    base_url=f"http://127.0.0.1:{port}{_PREFIX}",
                    headers={"Authorization": f"token {_TOKEN}"},
                    timeout=60,
                    trust_env=False,
                )
                with client:
                    container.until(lambda: _answers(client))
                    yield Lab(container, client, f"127.0.0.1:{port}")
        finally:
            hub.shutdown()
            thread.join(10)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("api/status", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
