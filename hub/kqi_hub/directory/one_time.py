"""Passwords for a first sign-in."""

import secrets

from kqi_spawner.workload import Secret


def one_time_password() -> Secret:
    """Return a password of 100 bits in groups that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return Secret("-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4)))
