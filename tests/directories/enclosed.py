"""A server in namespaces of its own: its network, its processes, its mounts. Two of its ports lead out to loopback."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ldap3

_NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
_LDAP, _LDAPS = 389, 636
_PATIENCE_S = 120.0
HOST = "localhost"


class Enclosed:
    """`ldap://localhost:port` and `ldaps://localhost:tls_port`. All it writes is in `folder`, and gone with it.

    `emptied` are folders of the machine that it sees as empty ones of its own. Its `admin`, a DN and a password, writes
    to it over LDAP.
    """

    ca_file: Path
    admin: tuple[str, str]

    def __init__(self, name: str, emptied: Sequence[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix=f"kqi-{name}-"))
        self.log = self.folder / "log"
        self.port = self.tls_port = 0
        self._emptied = emptied
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def making(self) -> str:
        """Return the lines of a shell that make it, within."""
        raise NotImplementedError

    def serving(self) -> str:
        """Return the command that is the server."""
        raise NotImplementedError

    def start(self) -> None:
        if os.geteuid() != 0:
            raise PermissionError("namespaces with servers in them are made by root")
        with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as tls:
            self.port, self.tls_port = plain.getsockname()[1], tls.getsockname()[1]
            lines = [
                "ip link set lo up",
                *(f"mount -t tmpfs tmpfs {folder}" for folder in ("/run", "/dev/shm", *self._emptied)),
                self.making(),
                *(_relay(one, port) for one, port in ((plain, _LDAP), (tls, _LDAPS))),
                f"exec {self.serving()}",
            ]
            words = ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "sh", "-ec", "\n".join(lines)]
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=Path(__file__).parents[2],
                    pass_fds=[plain.fileno(), tls.fileno()],
                    start_new_session=True,
                )
        self._await()

    def remove(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def administrator(self) -> ldap3.Connection:
        return self.connection(*self.admin, auto_bind=True, raise_exceptions=True)

    def connection(self, dn: str, password: str, **more: bool) -> ldap3.Connection:
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(self.ca_file))
        server = ldap3.Server(HOST, self.tls_port, use_ssl=True, tls=tls, get_info=ldap3.NONE)
        return ldap3.Connection(server, dn, password, **more)

    def add(self, dn: str, kind: str | list[str], **values: Any) -> None:
        with self.administrator() as admin:
            admin.add(dn, kind, values)

    def change(self, dn: str, **values: str | bytes | Sequence[str]) -> None:
        """Replace attributes; an empty list takes one away."""
        changes = {
            name: [(ldap3.MODIFY_REPLACE, [v] if isinstance(v, str | bytes) else list(v))] for name, v in values.items()
        }
        with self.administrator() as admin:
            admin.modify(dn, changes)

    def read(self, dn: str, *attributes: str) -> dict[str, list[bytes]]:
        with self.administrator() as admin:
            admin.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(attributes))
            return dict(admin.response[0]["raw_attributes"])

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def _await(self) -> None:
        """Return when it speaks TLS; only that says that it is there, since the ports are open from the beginning."""
        assert self._process
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with socket.create_connection((HOST, self.tls_port), timeout=10) as raw:
                    context.wrap_socket(raw).close()
                return
            except OSError:
                assert self._process.poll() is None and time.monotonic() < until, self.said()[-5000:]
                time.sleep(0.1)


def _relay(listener: socket.socket, port: int) -> str:
    return f"{sys.executable} -m tests.cluster.harness.relay {listener.fileno()} 127.0.0.1 {port} &"
