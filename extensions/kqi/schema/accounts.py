"""Who one is, and tokens for programs."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from kqi.schema.base import OneLine, Request, Revealing, Title, Wire


class Tenant(Wire):
    name: str
    display_name: str


class PresentToken(Wire):
    """The token that a request came with; with `run` it is that of a run, and lives as long."""

    id: int
    name: str
    run: bool
    tenant: str | None
    expires_at: datetime | None


class TermsState(Wire):
    """Which version of the terms of service is in force, and the newest one that the person has accepted."""

    current: int
    accepted: int


class Person(Wire):
    """Who one is. `source` is the directory that knows the person; `capabilities` is what this request may do."""

    id: int
    name: str
    display_name: str
    administrator: bool
    language: str | None
    default_tenant: str
    tenants: list[Tenant]
    email: str = ""
    time_zone: str | None = None
    source: str = "local"
    capabilities: list[str] = Field(default=[])
    token: PresentToken | None = None
    terms: TermsState | None = None


class ChangePerson(Request):
    """What is left out stays as it is; an empty text takes e-mail or time zone away."""

    display_name: Title | None = None
    email: OneLine | None = Field(default=None, pattern=r"^([^@\s]+@[^@\s]+)?$")
    language: str | None = Field(default=None, pattern="^(ja|zh|en)$")
    time_zone: OneLine | None = Field(default=None, max_length=64)
    default_tenant: OneLine | None = None


class Token(Wire):
    """A token as it is listed; its text is shown once, when it is made. None: not narrowed to that."""

    id: int
    name: str
    tenant: str | None = None
    capabilities: list[str] | None = None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    last_used_from: str | None = None


class CreateToken(Request):
    """`tenant` and `capabilities` narrow it; left out, it may do all that its maker may with this request."""

    name: Title
    days: int = Field(default=30, ge=1, le=3650)
    tenant: OneLine | None = None
    capabilities: list[OneLine] | None = Field(default=None, min_length=1, max_length=100)


class NewToken(Revealing):
    token: str
    info: Token


class StartDevice(Request):
    """RFC 8628 section 3.1; `client` is shown to the person who approves."""

    client: Title = "kqi"


class Device(Wire):
    """RFC 8628 section 3.2. Times in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class RedeemDevice(Request):
    device_code: OneLine


class DataTypes(Request):
    """The splits that typed datasets of a tenant may have, in order."""

    names: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]] = Field(min_length=1, max_length=20)


class Password(Request):
    """Signing in at the hub (`POST /hub/kqi/token`) without a browser; `name` is that of the token that is made."""

    username: OneLine
    password: str = Field(max_length=4096, repr=False)
    name: Title = "kqi"


class ChangePassword(Request):
    """Changing the password at the hub (`POST /hub/kqi/password`)."""

    username: OneLine
    old: str = Field(max_length=4096, repr=False)
    new: str = Field(max_length=4096, repr=False)
