"""Hashes are those of crypt(3)."""

import ctypes
import ctypes.util

from kqi_hub.directory.sha512_crypt import hashed, sha512_crypt
from kqi_spawner.workload import Secret


def of_the_system(password: bytes, setting: str) -> str:
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    library.crypt.restype = ctypes.c_char_p
    found: bytes = library.crypt(password, setting.encode())
    return found.decode()


def test_passwords_of_all_lengths_are_hashed_as_the_system_does() -> None:
    for length in (1, 7, 23, 63, 64, 65, 130):
        for password in (b"x" * length, "é".encode() * length):
            assert sha512_crypt(password, "a.salt/of/mine") == of_the_system(password, "$6$a.salt/of/mine$")


def test_the_same_password_is_never_hashed_alike() -> None:
    first, second = (hashed(Secret("one password")) for _ in range(2))
    assert first != second and first.startswith("{CRYPT}$6$") and "one password" not in first
