"""Passwords as crypt(3) keeps them with SHA-512, which every OpenLDAP and 389 Directory Server on Linux can check."""

import hashlib
import secrets

from kqi_spawner.workload import Secret

_LETTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5_000
_SALT = 16


def hashed(password: Secret) -> str:
    """Return the password as a value of `userPassword`, with a salt of its own. Takes some 10 ms."""
    salt = "".join(secrets.choice(_LETTERS) for _ in range(_SALT))
    return "{CRYPT}" + sha512_crypt(password.reveal().encode(), salt)


def sha512_crypt(password: bytes, salt: str) -> str:
    """Return what glibc's crypt(3) returns for this password and the setting `$6$salt`."""
    grains = salt.encode()
    p = _filled(_sha(password * len(password)), len(password))
    s = _filled(_sha(grains * (16 + _first(password, grains)[0])), len(grains))
    digest = _first(password, grains)
    for number in range(_ROUNDS):
        odd = number % 2
        middle = (s if number % 3 else b"") + (p if number % 7 else b"")
        digest = _sha((p if odd else digest) + middle + (digest if odd else p))
    return f"$6${salt}${_text(digest)}"


def _first(password: bytes, salt: bytes) -> bytes:
    between = _sha(password + salt + password)
    text = password + salt + _filled(between, len(password))
    length = len(password)
    while length:
        text += between if length & 1 else password
        length >>= 1
    return _sha(text)


def _sha(text: bytes) -> bytes:
    return hashlib.sha512(text).digest()


def _filled(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _text(digest: bytes) -> str:
    """Return the digest in letters: three bytes in four, taken from three thirds in turn, and the last one in two."""
    found = []
    for number in range(21):
        triple = [number, number + 21, number + 42]
        turn = number % 3
        high, middle, low = (digest[at] for at in triple[turn:] + triple[:turn])
        found.append(_sixes(high << 16 | middle << 8 | low, 4))
    return "".join([*found, _sixes(digest[63], 2)])


def _sixes(value: int, count: int) -> str:
    return "".join(_LETTERS[value >> 6 * at & 63] for at in range(count))
