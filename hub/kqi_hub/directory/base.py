"""The seam of directories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from kqi_hub.errors import Unavailable
from kqi_hub.identity.rows import LOCAL
from kqi_spawner.workload import Secret


class Refusal(StrEnum):
    """Why a sign-in did not happen, as far as the person may know; each is a key of the catalogue."""

    WRONG = "sign_in_failed"  # also for a name that does not exist
    LOCKED = "account_locked"
    DISABLED = "account_disabled"  # told only to who knew the password
    EXPIRED = "password_expired"  # and nobody but an administrator can give another one
    NAME_NOT_VALID = "account_name_not_valid"  # what the directory calls them cannot be a name here
    NOT_ALLOWED = "account_not_allowed"  # right, but in none of the groups that may come
    UNREACHABLE = "directory_unreachable"
    NAME_TAKEN = "account_name_taken"  # the directory's person is another than the one we know by this name
    RENAMED = "account_renamed"  # we know the directory's person by another name


class PasswordFault(StrEnum):
    """Why a new password was not taken."""

    WRONG_OLD = "password_wrong_old"
    TOO_SHORT = "password_too_short"
    SAME = "password_same"
    TOO_LONG = "password_too_long"
    BAD_CHARACTER = "password_bad_character"
    LOCKED = "account_locked"
    IN_HISTORY = "password_in_history"
    TOO_SOON = "password_too_soon"
    QUALITY = "password_quality"  # a rule of the directory's own
    DIRECTORY_TOO_SHORT = "password_too_short_there"  # by the directory's rule, whose number it keeps to itself
    NOT_ALLOWED = "password_not_allowed"  # to change it, in this directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of the directory that somebody is in; not `direct`: by way of another group."""

    name: str
    dn: str = ""
    direct: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A person as the directory knows them. `directory_id` stays theirs whatever they are called."""

    name: str
    display_name: str = ""
    email: str = ""
    source: str = LOCAL
    directory_id: str | None = None
    dn: str = ""
    uid: int | None = None
    gid: int | None = None
    groups: tuple[Group, ...] = ()
    administrator: bool = False  # the directory says so, by a group of administrators
    must_change: bool = False
    expires_at: datetime | None = None  # of the password, where the directory warns of it
    grace_left: int | None = None  # sign-ins left with a password that has expired
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # that were asked for by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    why: Refusal
    retry_after_s: int = 0
    cause: str = ""  # of UNREACHABLE: key of a sentence that says what is the matter with the directory


class Unanswered(Unavailable):
    """The directory can be asked, but not about this person: what it says of them is odd, or too much."""


class Directory(Protocol):
    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        """Check a password. A wrong name and a wrong password are alike in answer and in time."""

    async def look_up(self, name: str) -> Entry | None:
        """Return the person as of now, None if there is none or they may no longer sign in.

        Raises Unavailable while the directory is away, Unanswered where it is only this person who cannot be asked for.
        """

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        """Change it; None means done."""

    def close(self) -> None:
        """Let go of what is kept open."""
