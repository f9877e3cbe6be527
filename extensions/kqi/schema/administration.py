"""What administrators see and do: people, their sessions, errands, applications, and the audit log."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from kqi.schema.base import OneLine, Request, Revealing, Title, Wire

PersonName = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Email = Annotated[OneLine, Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}$")]
Reason = Annotated[OneLine, Field(max_length=255)]


class AuditEntry(Wire):
    """Who did what to which thing, from where. `refused` is the code of the refusal; empty: it was done."""

    id: int
    at: datetime
    person: str
    person_id: int | None
    tenant: str
    token: int | None
    address: str
    action: str
    object: str
    refused: str
    details: dict[str, Any]
    hash: str


class AuditFault(Wire):
    """Entries `first` to `last` are not as they were written; `damage` says in which way."""

    damage: str
    first: int
    last: int


class AuditCheck(Wire):
    """What came of looking at the whole log. Entries up to `sealed` are vouched for by a seal of the platform."""

    whole: bool
    entries: int
    first: int
    last: int
    sealed: int
    faults: list[AuditFault]


class SomebodysState(StrEnum):
    ACTIVE = "active"
    LOCKED = "locked"  # too many wrong passwords; ends by itself
    SUSPENDED = "suspended"
    GONE = "gone"  # their directory lets them in no more: neither do their tokens


class Somebody(Wire):
    """A person as administrators see them. `source`: the directory that knows them, `local` for our own accounts."""

    id: int
    name: str
    display_name: str
    email: str
    source: str
    state: SomebodysState
    platform_roles: list[str]
    platform_role: str | None  # of these the one given by hand
    tenants: list[str]
    default_tenant: str
    must_change_password: bool
    created_at: datetime
    signed_in_at: datetime | None
    suspended_at: datetime | None = None
    suspended_by: str = ""
    suspended_for: str = ""


class CreateSomebody(Request):
    """A local account. `send`: the first password goes to the e-mail address, where the platform can send."""

    name: PersonName
    display_name: Title | None = None
    email: Email | None = None
    platform_role: OneLine | None = None
    send: bool = False


class ChangeSomebody(Request):
    """What is left out stays; an empty `platform_role` takes it away."""

    display_name: Title | None = None
    email: Email | None = None
    default_tenant: OneLine | None = None
    platform_role: OneLine | None = None


class SendPassword(Request):
    send: bool = False


class NewSomebody(Revealing):
    """`password` works once and is in this answer alone; None where it was sent."""

    person: Somebody
    password: str | None
    sent: bool = False


class Suspend(Request):
    reason: Reason = ""


class BrowserSession(Wire):
    """Somebody who is signed in: a browser, or a program with a token (`kind`)."""

    id: str
    kind: str
    person: str
    name: str
    address: str
    began_at: datetime | None
    used_at: datetime | None
    expires_at: datetime | None


class EndedSessions(Wire):
    ended: int


class ErrandState(StrEnum):
    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


class Errand(Wire):
    """Something done in the background; `report` says what was done so far. `fault`: the code of what ended it."""

    id: int
    kind: str
    about: str
    state: ErrandState
    asked: dict[str, Any]
    report: dict[str, Any]
    fault: str
    by: str
    at: datetime
    began_at: datetime | None
    ended_at: datetime | None


class HandOver(Request):
    """Give all that a person owns to another one; with `homes` their folders move into the other's home, too."""

    to: PersonName
    homes: bool = False


class DeleteSomebody(Request):
    """`confirm` repeats the name, which deletes what they own as well; `erase_homes` repeats it for their folders."""

    confirm: OneLine | None = None
    erase_homes: OneLine | None = None


class ApplicationState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DECLINED = "declined"


class Application(Wire):
    id: int
    at: datetime
    name: str
    email: str
    category: str
    affiliation: str
    terms: str
    language: str
    address: str
    state: ApplicationState
    user: str
    reason: str
    by: str
    decided_at: datetime | None


class ApproveApplication(Request):
    """Make the local account `user`, and send its first password with `send`.

    `make=False`: the account is made elsewhere, such as from the exported LDIF. With `send` it has a first password,
    whose hash the LDIF holds; without, who makes the account gives it one.
    """

    user: PersonName
    make: bool = True
    send: bool = False


class DeclineApplication(Request):
    reason: Reason


class ApprovedApplication(Revealing):
    application: Application
    password: str | None
    sent: bool = False
