"""What goes wrong between a directory and its clients: a relay that is slow, hangs or closes; a server that lies."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator


class Relay:
    """Passes bytes on to a server. `delay_s`: what the server says comes later; `hangs`: it never comes."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.hangs = threading.Event()
        self.gone = threading.Event()
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._deaf: set[socket.socket] = set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all that is open, as a firewall does that forgets connections."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()

    def freeze(self) -> None:
        """Let nothing come any more on what is open, and close nothing: half open, as after a crash on the way."""
        self._deaf.update(self._open)

    def close(self) -> None:
        self._ended = True
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.gone.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._behind))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self.delay_s:
                    time.sleep(self.delay_s)
                if answers and (self.hangs.is_set() or source in self._deaf):
                    continue
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


class Liar:
    """A server that answers binds with success and every search with what `answer` makes of the message's number."""

    def __init__(self, answer: Callable[[int], Iterator[bytes]]) -> None:
        liar = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while data := self.request.recv(65536):
                        liar.asked.append(data)
                        number, kind = _number(data), data[_kind_at(data)]
                        if kind == 0x60:
                            self.request.sendall(message(number, b"\x61", SUCCESS))
                        elif kind == 0x63:
                            for part in answer(number):
                                self.request.sendall(part)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.asked: list[bytes] = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


SUCCESS = b"\x0a\x01\x00\x04\x00\x04\x00"
DONE = b"\x65"


def ber(tag: bytes, content: bytes) -> bytes:
    return tag + length(len(content)) + content


def length(size: int) -> bytes:
    return bytes([size]) if size < 128 else b"\x84" + size.to_bytes(4)


def message(number: int, tag: bytes, content: bytes) -> bytes:
    return ber(b"\x30", whole(number) + ber(tag, content))


def whole(number: int) -> bytes:
    return ber(b"\x02", number.to_bytes(number.bit_length() // 8 + 1))


def entry(number: int, dn: str, **values: bytes) -> bytes:
    listed = b"".join(
        ber(b"\x30", ber(b"\x04", name.encode()) + ber(b"\x31", ber(b"\x04", value))) for name, value in values.items()
    )
    return message(number, b"\x64", ber(b"\x04", dn.encode()) + ber(b"\x30", listed))


def _number(data: bytes) -> int:
    at = _body_at(data)
    return int.from_bytes(data[at + 2 : at + 2 + data[at + 1]])


def _kind_at(data: bytes) -> int:
    at = _body_at(data)
    return at + 2 + data[at + 1]


def _body_at(data: bytes) -> int:
    return 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
