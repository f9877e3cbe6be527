"""Who one is, and tokens for programs."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from kqi.schema.base import OneLine, Request, Title, Wire


class Tenant(Wire):
    name: str
    display_name: str


class Person(Wire):
    id: int
    name: str
    display_name: str
    administrator: bool
    language: str | None
    default_tenant: str
    tenants: list[Tenant]


class ChangePerson(Request):
    display_name: OneLine | None = None
    language: str | None = Field(default=None, pattern="^(ja|zh|en)$")
    default_tenant: OneLine | None = None


class Token(Wire):
    """A token as it is listed; its text is shown once, when it is made."""

    id: int
    name: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class CreateToken(Request):
    name: Title
    days: int = Field(default=30, ge=1, le=3650)


class NewToken(Wire):
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
