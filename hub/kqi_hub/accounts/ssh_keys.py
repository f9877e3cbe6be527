"""Public keys of OpenSSH: read strictly, for one line decides who comes in. Pure."""

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from kqi_hub.errors import Invalid

_RSA_BITS = 2048
# Held by a security token; the library reads none of them, and there is nothing weak to be found in them.
_OF_TOKENS = {
    "sk-ssh-ed25519@openssh.com": (b"ssh-ed25519", 2),
    "sk-ecdsa-sha2-nistp256@openssh.com": (b"ecdsa-sha2-nistp256", 3),
}
_KINDS = {
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *_OF_TOKENS,
}
_KIND = re.compile(r"(sk-)?(ssh|ecdsa-sha2)-[a-z0-9@.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """`text` is type and key as in `authorized_keys`, without a comment."""

    kind: str
    text: str
    fingerprint: str
    comment: str


def parse(given: str) -> PublicKey:
    """Return the key of one line. Raises Invalid with the reason for whatever is not one good key and nothing else."""
    if "PRIVATE KEY" in given:
        raise Invalid("ssh_key_private")
    line = given.strip()
    if not line or len(line.splitlines()) > 1 or "\r" in line:
        raise Invalid("ssh_key_one_line")
    kind, _, rest = line.partition(" ")
    if not _KIND.fullmatch(kind):
        options = any(_KIND.fullmatch(word) for word in rest.split(" ")) or "=" in kind
        raise Invalid("ssh_key_options" if options else "ssh_key_not_valid")
    if kind not in _KINDS:
        raise Invalid("ssh_key_kind", kind=kind[:60])
    encoded, _, comment = rest.strip().partition(" ")
    blob = _decoded(encoded)
    if _field(blob)[0] != kind.encode():
        raise Invalid("ssh_key_not_valid")
    _check(kind, encoded, blob)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(kind=kind, text=f"{kind} {encoded}", fingerprint=f"SHA256:{digest}", comment=comment.strip()[:255])


def _check(kind: str, encoded: str, blob: bytes) -> None:
    if kind in _OF_TOKENS:
        _check_of_token(kind, blob)
        return
    try:
        key = load_ssh_public_key(f"{kind} {encoded}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("ssh_key_not_valid") from error
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if key.key_size < _RSA_BITS:
            raise Invalid("ssh_key_weak", bits=key.key_size, least=_RSA_BITS)
        if numbers.e < 3 or numbers.e % 2 == 0 or numbers.n % 2 == 0:
            raise Invalid("ssh_key_not_valid")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise Invalid("ssh_key_kind", kind=kind)


def _check_of_token(kind: str, blob: bytes) -> None:
    """Such a key is that of the plain kind with the name of an application behind it."""
    plain, fields = _OF_TOKENS[kind]
    parts, rest = [], blob
    for _ in range(fields + 1):
        part, rest = _field(rest)
        parts.append(part)
    if rest or not parts[-1]:
        raise Invalid("ssh_key_not_valid")
    packed = b"".join(len(part).to_bytes(4, "big") + part for part in (plain, *parts[1:-1]))
    try:
        load_ssh_public_key(plain + b" " + base64.b64encode(packed))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("ssh_key_not_valid") from error


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise Invalid("ssh_key_not_valid") from error


def _field(blob: bytes) -> tuple[bytes, bytes]:
    """Return the first string of a blob (RFC 4251 section 5) and what is behind it."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length or length == 0:
        raise Invalid("ssh_key_not_valid")
    return blob[4 : 4 + length], blob[4 + length :]
