"""Whose certificates are believed: the authorities of the system, and those an administrator adds."""

import os
import ssl
from pathlib import Path

import certifi

# Where distributions keep what their administrators trust, in one file.
_OF_SYSTEMS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies a server and its name. Raises OSError for a file that cannot be used."""
    made = ssl.create_default_context(cafile=_of_the_system())
    if ca_file is not None:
        made.load_verify_locations(ca_file)
    return made


def write_bundle(ca_file: Path, target: Path) -> None:
    """Write one file with all of them, for programs that take no more than one."""
    building = target.with_suffix(".building")
    building.write_bytes(Path(_of_the_system()).read_bytes() + b"\n" + ca_file.read_bytes())
    building.chmod(0o644)
    os.replace(building, target)


def _of_the_system() -> str:
    return next((path for path in _OF_SYSTEMS if os.path.exists(path)), certifi.where())
