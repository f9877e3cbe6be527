"""A real OpenLDAP of the tests' own: Debian's slapd with ppolicy and memberOf on loopback, gone with the tests."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import ldap3

from kqi_hub.testing.service import free_port
from tests.pki import Authority

SUFFIX = "dc=example,dc=org"
PEOPLE, GROUPS, POLICIES = (f"ou={name},{SUFFIX}" for name in ("people", "groups", "policies"))
ADMIN, SERVICE = f"cn=admin,{SUFFIX}", f"cn=service,{SUFFIX}"
ADMIN_PASSWORD, SERVICE_PASSWORD = "canary-of-the-admin-61d2", "canary-of-the-service-0b7e"
PASSWORD = "correct horse battery"
DEFAULT_POLICY = f"cn=default,{POLICIES}"
HOST = "localhost"

Entry = Mapping[str, str | bytes | Sequence[str | bytes]]


class Slapd:
    """`ldap://localhost:port` with StartTLS and `ldaps://localhost:tls_port`, by a certificate of `authority`."""

    def __init__(self, suffix: str = SUFFIX, *, anybody: str = "none", bound: str = "read") -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-slapd-"))
        self.port, self.tls_port = free_port(), free_port()
        self.suffix = suffix
        self.log = self.folder / "log"
        self.authority = Authority(self.folder / "pki")
        self.process: subprocess.Popen[bytes] | None = None
        self._anybody, self._bound = anybody, bound  # what who has not bound may do, and who has
        (self.folder / "data").mkdir()
        (self.folder / "slapd.conf").write_text(self._configuration())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def ca_file(self) -> Path:
        return self.authority.certificate

    def load(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Write entries straight into the database, before the start; thousands in a second."""
        text = b"\n".join(_ldif(dn, attributes) for dn, attributes in entries)
        words = [_program("slapadd"), "-q", "-f", self.folder / "slapd.conf"]
        done = subprocess.run(words, input=text, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        words = [_program("slapd"), "-f", self.folder / "slapd.conf", "-h", urls, "-d", "stats"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, words)], stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def freeze(self) -> None:
        """It accepts connections and says nothing, as a machine that hangs."""
        os.kill(self._pid(), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid(), signal.SIGCONT)

    def remove(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def administrator(self) -> ldap3.Connection:
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        dn = f"cn=admin,{self.suffix}"
        return ldap3.Connection(server, dn, ADMIN_PASSWORD, auto_bind=True, raise_exceptions=True)

    def add(self, dn: str, attributes: Entry) -> None:
        with self.administrator() as admin:
            admin.add(dn, attributes=dict(attributes))

    def change(self, dn: str, **values: str | Sequence[str]) -> None:
        """Replace attributes; an empty list takes one away."""
        changes = {name: [(ldap3.MODIFY_REPLACE, [v] if isinstance(v, str) else list(v))] for name, v in values.items()}
        with self.administrator() as admin:
            admin.modify(dn, changes)

    def delete(self, dn: str) -> None:
        with self.administrator() as admin:
            admin.delete(dn)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def _pid(self) -> int:
        assert self.process
        return self.process.pid

    def _configuration(self) -> str:
        certificate, key = self.authority.server(HOST)
        schemas = "\n".join(f"include /etc/ldap/schema/{name}.schema" for name in _SCHEMAS)
        return f"""{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
pidfile {self.folder}/pid
sizelimit 500
database mdb
suffix "{self.suffix}"
rootdn "cn=admin,{self.suffix}"
rootpw {ADMIN_PASSWORD}
directory {self.folder}/data
maxsize 1073741824
dbnosync
index objectClass,uid,cn,member,uniqueMember,memberUid,entryUUID eq
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{self.suffix}"
ppolicy_use_lockout
ppolicy_hash_cleartext
access to attrs=userPassword by self write by anonymous auth by * none
access to * by users {self._bound} by * {self._anybody}
"""


_SCHEMAS = ("core", "cosine", "nis", "inetorgperson")


def tree(suffix: str = SUFFIX, **policy: str) -> list[tuple[str, Entry]]:
    """Return the folders, the service account and the default policy of a directory."""
    top = suffix.split(",", 1)[0].removeprefix("dc=")
    service = {"objectClass": ["organizationalRole", "simpleSecurityObject"], "userPassword": SERVICE_PASSWORD}
    folders = [
        (f"ou={name},{suffix}", {"objectClass": "organizationalUnit"}) for name in ("people", "groups", "policies")
    ]
    return [
        (suffix, {"objectClass": ["dcObject", "organization"], "o": top}),
        *folders,
        (f"cn=service,{suffix}", service),
        policy_entry("default", suffix, **policy),
    ]


def policy_entry(name: str, suffix: str = SUFFIX, **policy: str) -> tuple[str, Entry]:
    values = {**_POLICY, **policy}
    return f"cn={name},ou=policies,{suffix}", {"objectClass": ["organizationalRole", "pwdPolicy"], **values}


_POLICY = {
    "pwdAttribute": "userPassword",
    "pwdMustChange": "TRUE",
    "pwdAllowUserChange": "TRUE",
    "pwdMinLength": "6",
    "pwdCheckQuality": "1",
    "pwdInHistory": "3",
    "pwdMaxFailure": "5",
    "pwdLockout": "TRUE",
}


def person(name: str, number: int = 10000, **more: str | Sequence[str]) -> tuple[str, Entry]:
    """Return somebody whose password is PASSWORD."""
    values = {
        "objectClass": ["inetOrgPerson", "posixAccount"],
        "uid": name,
        "cn": f"{name.capitalize()} Example",
        "sn": "Example",
        "mail": f"{name}@example.org",
        "uidNumber": str(number),
        "gidNumber": str(number),
        "homeDirectory": f"/home/{name}",
        "userPassword": PASSWORD,
    }
    return dn_of(name), {**values, **more}


def group(name: str, *members: str) -> tuple[str, Entry]:
    """Return a group of DNs."""
    return f"cn={name},{GROUPS}", {"objectClass": "groupOfNames", "member": list(members) or [ADMIN]}


def posix_group(name: str, number: int, *members: str) -> tuple[str, Entry]:
    """Return a group of names."""
    values = {"objectClass": "posixGroup", "gidNumber": str(number), "memberUid": list(members)}
    return f"cn={name},{GROUPS}", values


def dn_of(name: str) -> str:
    return f"uid={name},{PEOPLE}"


def _ldif(dn: str, attributes: Entry) -> bytes:
    return _line("dn", dn) + b"".join(
        _line(name, value)
        for name, values in attributes.items()
        for value in ([values] if isinstance(values, str | bytes) else values)
    )


def _line(name: str, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return name.encode() + b":: " + base64.b64encode(raw) + b"\n"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "slapd is missing: `make packages` installs it"
    return found
