"""What the configuration says of people: how they sign in, work together and are asked for, and what is kept of it."""

from typing import Literal

from pydantic import BaseModel, Field

from kqi_hub.settings_cluster import STRICT


class _Section(BaseModel):
    model_config = STRICT


class Tenants(_Section):
    """Groups of people who work together."""

    created_by: Literal["everybody", "administrators"] = "everybody"
    cluster: str = "default"  # what this platform's engine is called in the settings of tenants


class SignIn(_Section):
    attempts: int = Field(default=5, ge=1)  # wrong passwords until the account is locked
    lock_s: int = Field(default=300, ge=1)
    attempts_per_minute: int = Field(default=30, ge=1)  # of one network address
    look_again_s: float = Field(default=300, gt=0)  # whether the directory still knows those who have a token or a key
    password_min_length: int = Field(default=10, ge=8)
    password_history: int = Field(default=0, ge=0, le=24)  # former passwords that may not come again
    password_min_age_days: int = Field(default=0, ge=0)  # before it may be changed again
    password_max_age_days: int | None = Field(default=None, ge=1)  # None: it never expires
    password_warn_days: int = Field(default=14, ge=0)  # people are reminded this long before it does
    password_grace: int = Field(default=3, ge=0)  # sign-ins with one that has expired


class Audit(_Section):
    keep_days: int | None = Field(default=None, ge=1)  # None: for ever


class Applications(_Section):
    """The form by which somebody asks for an account."""

    enabled: bool = False
    categories: list[str] = ["student", "staff", "guest"]
    terms_version: str = "1"
    terms_url: str = ""  # where the terms can be read; empty: there is only the sentence of the form
    waiting: int = Field(default=1_000, ge=1)  # at most
    per_hour: int = Field(default=5, ge=1)  # of one network address
    ldif_base: str = "ou=people,dc=example,dc=org"  # below which exported people are to be added
    ldif_must_change: bool = True  # a first password is to be changed (`pwdReset`); needs OpenLDAP's overlay ppolicy
