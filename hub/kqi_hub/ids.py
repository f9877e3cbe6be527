"""Identifiers: integers for things that people name in commands, opaque texts for the rest."""

import secrets
from typing import NewType

PersonId = NewType("PersonId", int)
TenantId = NewType("TenantId", int)
DataId = NewType("DataId", int)
DatasetId = NewType("DatasetId", int)
RunKey = NewType("RunKey", int)  # unique over all kinds of runs; the number people see is unique within a kind


def opaque(size: int = 16) -> str:
    """Return a URL-safe text that cannot be guessed; `size` in bytes of randomness."""
    return secrets.token_urlsafe(size)
