"""Whose certificates are believed: the authorities of the system, and those an administrator adds."""

import os
import re
import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path

import certifi

# Where distributions keep what their administrators trust, in one file.
_OF_SYSTEMS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.*?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL
)


def context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies a server and its name. Raises OSError for a file that cannot be used."""
    made = ssl.create_default_context(cafile=_of_the_system())
    if ca_file is not None:
        made.load_verify_locations(ca_file)
    return made


def write_bundle(ca_file: Path, target: Path) -> None:
    """Write one file with all of them, for programs that take no more than one."""
    write_certificates((Path(_of_the_system()), ca_file), target)


def write_certificates(files: Iterable[Path], target: Path) -> None:
    """Write the certificates of all files into one that everybody may read, and no key that lies beside them."""
    building = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    building.write_bytes(b"\n".join(found for path in files for found in _CERTIFICATE.findall(path.read_bytes())))
    building.chmod(0o644)
    os.replace(building, target)


def _of_the_system() -> str:
    return next((path for path in _OF_SYSTEMS if os.path.exists(path)), certifi.where())
