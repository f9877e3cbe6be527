"""`python -m kqi_hub.outbound.through TUNNEL HOST PORT`: what ssh and git call to connect, through a tunnel of ours."""

import contextlib
import os
import socket
import struct
import sys
import threading


def main(tunnel: int, host: str, port: int) -> None:
    """Carry standard input to HOST, and what comes from there to standard output; SystemExit where there is no way."""
    name = host.encode("ascii", "replace")[:255]
    with socket.create_connection(("127.0.0.1", tunnel)) as connection:
        connection.sendall(struct.pack("!7BB", 5, 1, 0, 5, 1, 0, 3, len(name)) + name + struct.pack("!H", port))
        answer = connection.recv(12, socket.MSG_WAITALL)  # of 2 bytes how one signs in, of 10 how it went
        if len(answer) < 12 or answer[3] != 0:
            sys.exit(f"no way to {host}")
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        while chunk := connection.recv(1 << 16):
            _write(chunk)


def _send(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := os.read(0, 1 << 16):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


def _write(chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(1, chunk) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
