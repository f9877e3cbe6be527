"""`tests/foreign/run`: the suite of jupyterhub-ldapauthenticator against our class, on a slapd with its people."""

import os
import subprocess
import sys
from pathlib import Path

from tests import slapd
from tests.slapd import Entry, Slapd

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
SUFFIX = "dc=planetexpress,dc=com"
_PEOPLE = f"ou=people,{SUFFIX}"
_NAMES = {
    "fry": "Philip J. Fry",
    "leela": "Turanga Leela",
    "bender": "Bender Bending Rodriguez",
    "zoidberg": "John A. Zoidberg",
    "professor": "Hubert J. Farnsworth",
    "hermes": "Hermes Conrad",
}
_MORE = {
    "fry": {"ou": "Delivering Crew", "employeeType": "Delivery boy"},
    "leela": {"ou": "Delivering Crew", "description": "Mutant"},
}


def _person(name: str) -> tuple[str, Entry]:
    values = {"objectClass": "inetOrgPerson", "uid": name, "cn": _NAMES[name], "sn": name, "userPassword": name}
    return f"cn={_NAMES[name]},{_PEOPLE}", {**values, **_MORE.get(name, {})}


def _group(name: str, *members: str) -> tuple[str, Entry]:
    listed = [f"cn={_NAMES[member]},{_PEOPLE}" for member in members]
    return f"cn={name},{_PEOPLE}", {"objectClass": "groupOfNames", "member": listed}


def main() -> int:
    source, options = Path(sys.argv[1]), sys.argv[2:]
    server = Slapd(SUFFIX, anybody="read")
    groups = [_group("ship_crew", "fry", "leela", "bender"), _group("admin_staff", "hermes", "professor")]
    server.load([*slapd.tree(SUFFIX, pwdMinLength="1"), *map(_person, _NAMES), *groups])
    with server:
        around = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            "LDAP_HOST": slapd.HOST,
            "KQI_FOREIGN_PORTS": f"{server.port} {server.tls_port}",
            "SSL_CERT_FILE": str(server.ca_file),  # certificates are verified: this one by the system's authorities
            "PYTHONPATH": f"{source}:{_HERE}",
        }
        words = [sys.executable, "-m", "pytest", "-p", "kqi_foreign_ldap", "-p", "no:cacheprovider", *options]
        words += ["-o", "addopts=", "-o", "asyncio_mode=auto", "ldapauthenticator/tests"]
        return subprocess.run(words, cwd=source, env=around).returncode


if __name__ == "__main__":
    sys.exit(main())
