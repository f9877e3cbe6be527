"""A mail server that takes mail by STARTTLS and a password, and nothing otherwise."""

import base64
import socketserver
import ssl
import threading
from types import TracebackType
from typing import Self

from tests.pki import Authority


class SmtpServer:
    """Use as a context; `mails` are what was handed over, `refused` tells of sessions that did not get so far."""

    def __init__(self, authority: Authority, user: str, password: str) -> None:
        self.mails: list[str] = []
        self.refused: list[str] = []
        self.user, self.password = user, password
        self.came = threading.Condition()
        certificate, key = authority.server("localhost")
        self._trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._trusted.load_cert_chain(certificate, key)
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, within_s: float = 60) -> None:
        """Wait until a mail has come."""
        with self.came:
            assert self.came.wait_for(lambda: bool(self.mails), within_s), self.refused

    def wait_for(self, to: str, within_s: float = 60) -> str:
        """Wait until a mail to somebody has come, and return it."""
        with self.came:
            wanted = f"To: {to}"
            assert self.came.wait_for(lambda: any(wanted in mail for mail in self.mails), within_s), self.refused
            return next(mail for mail in self.mails if wanted in mail)

    def _handler(self) -> type[socketserver.BaseRequestHandler]:  # noqa: C901 - the commands of one protocol
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            safe, known = False, False

            def handle(self) -> None:
                self._say("220 localhost ESMTP")
                while line := self.rfile.readline():
                    if not self._take(line.decode().strip()):
                        return

            def _take(self, line: str) -> bool:
                word = line.split(" ", 1)[0].upper()
                if word == "EHLO":
                    self._say("250-localhost\r\n250 " + ("AUTH PLAIN" if self.safe else "STARTTLS"))
                elif word == "STARTTLS":
                    self._say("220 go on")
                    try:
                        self.request = outer._trusted.wrap_socket(self.request, server_side=True)
                    except OSError as error:
                        outer.refused.append(str(error))
                        return False
                    self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
                    self.safe = True
                elif word == "AUTH" and self.safe:
                    expected = base64.b64encode(f"\0{outer.user}\0{outer.password}".encode()).decode()
                    self.known = line.split()[-1] == expected
                    self._say("235 welcome" if self.known else f"535 {line}")
                elif word == "DATA" and self.known:
                    self._say("354 go on")
                    self._read()
                elif word == "QUIT":
                    self._say("221 bye")
                    return False
                else:
                    self._say("250 ok" if self.known else "530 who are you?")
                return True

            def _read(self) -> None:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.decode())
                self._say("250 taken")
                with outer.came:
                    outer.mails.append("".join(lines))
                    outer.came.notify_all()

            def _say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        return Handler
