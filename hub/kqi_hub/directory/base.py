"""The seam of directories."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kqi_spawner.workload import Secret


class Refusal(StrEnum):
    """Why a sign-in did not happen, as far as the person may know; each is a key of the catalogue."""

    WRONG = "sign_in_failed"  # also for a name that does not exist
    LOCKED = "account_locked"
    DISABLED = "account_disabled"  # told only to who knew the password
    UNREACHABLE = "directory_unreachable"


class PasswordFault(StrEnum):
    """Why a new password was not taken."""

    WRONG_OLD = "password_wrong_old"
    TOO_SHORT = "password_too_short"
    SAME = "password_same"
    TOO_LONG = "password_too_long"
    BAD_CHARACTER = "password_bad_character"
    LOCKED = "account_locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A person as the directory knows them."""

    name: str
    display_name: str
    administrator: bool
    groups: tuple[str, ...]
    must_change: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    why: Refusal
    retry_after_s: int = 0


class Directory(Protocol):
    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        """Check a password. A wrong name and a wrong password are alike in answer and in time."""

    async def look_up(self, name: str) -> Entry | None:
        """Return the person as of now, None if there is none or they may no longer sign in."""

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        """Change it; None means done."""
