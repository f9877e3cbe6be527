"""A server of HTTPS: what it was sent, and what it is to answer."""

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.pki import Authority


@dataclass(slots=True, kw_only=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)


class HttpsServer:
    """Use as a context. `replies` are by path; others are answered 404."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.authority = authority or Authority(folder)
        self.received: list[Received] = []
        self.replies: dict[str, Reply] = {}
        self.came = threading.Condition()
        certificate, key = self.authority.server("localhost")
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trusted.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        server.daemon_threads = True
        server.socket = trusted.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._server = server
        self.port: int = server.server_address[1]
        self.url = f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Received) -> Reply:
        return self.replies.get(request.path, Reply(status=404, body=b"no"))

    def wait(self, count: int, within_s: float = 60) -> list[Received]:
        """Wait until so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.received) >= count, within_s), self.received
            return list(self.received)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else self._chunks()
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Received(method=self.command, path=self.path, headers=headers, body=body)
                reply = outer.answer(request)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                with outer.came:
                    outer.received.append(request)
                    outer.came.notify_all()

            do_GET = do_POST = handle_one

            def _chunks(self) -> bytes:
                body = b""
                while "chunked" in self.headers.get("transfer-encoding", ""):
                    size = int(self.rfile.readline(), 16)
                    body += self.rfile.read(size)
                    self.rfile.readline()
                    if not size:
                        break
                return body

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
