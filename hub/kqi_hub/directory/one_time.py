"""Passwords for a first sign-in."""

import secrets

from kqi_spawner.workload import Secret


def one_time_password() -> Secret:
    """Return a password of 100 bits in groups that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return Secret("-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4)))


def for_a_directory(password: Secret) -> str:
    """Return a one-time password as a value of `userPassword`.

    Salted SHA-1 is what every directory server checks without a module; of 100 random bits it gives nothing away.
    """
    # Of what only a site with a directory loads.
    from ldap3 import HASHED_SALTED_SHA  # noqa: PLC0415
    from ldap3.utils.hashed import hashed  # noqa: PLC0415

    return str(hashed(HASHED_SALTED_SHA, password.reveal())).replace("{ssha}", "{SSHA}")
