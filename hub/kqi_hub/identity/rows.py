"""Rows of people, tenants, roles, memberships and tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words
from kqi_hub.vault import Sealed

# The platform's own accounts; other directories name themselves.
LOCAL = "local"


# A number that was somebody's, or a token's, is never given to anybody else: what may still name it gives no rights.
_NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}


class TenantRow(Base):
    __tablename__ = "tenants"
    __table_args__ = _NEVER_AGAIN
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(63), unique=True)
    display_name: Mapped[str] = mapped_column(Words(255))
    description: Mapped[str] = mapped_column(Words(4096), default="")
    open: Mapped[bool] = mapped_column(default=True)  # others find it and may ask to join
    archived_at: Mapped[datetime | None]
    created_by: Mapped[int | None] = mapped_column(
        # People have a tenant, and a tenant its founder: whoever makes the tables needs to be told where to begin.
        ForeignKey("people.id", ondelete="SET NULL", use_alter=True)
    )
    expand: Mapped[str] = mapped_column(default="{}")  # JSON, as an administrator wrote it
    nodes: Mapped[str] = mapped_column(default="[]")  # JSON list of selectors of nodes; empty: all
    data_types: Mapped[str] = mapped_column(Words(4096), default='["training", "validation", "testing"]')  # JSON list
    created_at: Mapped[datetime]


class PersonRow(Base):
    __tablename__ = "people"
    __table_args__ = _NEVER_AGAIN
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(64), unique=True)
    display_name: Mapped[str] = mapped_column(Words(255))
    email: Mapped[str] = mapped_column(Words(255), default="")
    source: Mapped[str] = mapped_column(Words(16), default=LOCAL)  # which directory knows them
    directory_id: Mapped[str | None] = mapped_column(Words(255), unique=True)  # what never changes in that directory
    uid: Mapped[int | None]
    gid: Mapped[int | None]
    platform_role: Mapped[str | None] = mapped_column(Words(32))  # given by hand
    directory_platform_role: Mapped[str | None] = mapped_column(Words(32))
    disabled: Mapped[bool] = mapped_column(default=False)
    gone_at: Mapped[datetime | None]  # since when their directory lets them in no more; nothing of theirs ends by it
    language: Mapped[str | None] = mapped_column(Words(5))
    time_zone: Mapped[str | None] = mapped_column(Words(64))
    default_tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]


class RoleRow(Base):
    """A role of this platform's own, beside those that are built in."""

    __tablename__ = "roles"
    name: Mapped[str] = mapped_column(Words(32), primary_key=True)
    display_name: Mapped[str] = mapped_column(Words(255))
    level: Mapped[str] = mapped_column(Words(16))
    permissions: Mapped[str]  # JSON list


class MembershipRow(Base):
    """A person in a tenant: `role` was given by hand, `directory_role` by the directory; either may be missing."""

    __tablename__ = "memberships"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str | None] = mapped_column(Words(32))
    directory_role: Mapped[str | None] = mapped_column(Words(32))


class LocalAccountRow(Base):
    """The password of a local account; `failures` in a row since the last good one."""

    __tablename__ = "local_accounts"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    password_hash: Mapped[str] = mapped_column(Words(255))
    must_change: Mapped[bool] = mapped_column(default=False)
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    changed_at: Mapped[datetime | None]
    grace_used: Mapped[int] = mapped_column(default=0)  # sign-ins since the password has expired


class FormerPasswordRow(Base):
    """A password that a local account had before."""

    __tablename__ = "former_passwords"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    password_hash: Mapped[str] = mapped_column(Words(255))


class TokenRow(Base):
    """A token for programs; `hash` is SHA-256 of its text. With `run_key` it is the token of that run alone."""

    __tablename__ = "tokens"
    __table_args__ = _NEVER_AGAIN
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(Words(255))
    hash: Mapped[str] = mapped_column(Words(64), unique=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    capabilities: Mapped[str | None]  # JSON list of what it is narrowed to; None: all that its person may do
    run_key: Mapped[int | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # None: as long as its run
    last_used_at: Mapped[datetime | None]
    last_used_from: Mapped[str | None] = mapped_column(Words(64))  # network address


class DeviceRow(Base):
    """A sign-in of a program that waits for a person's approval in the browser (RFC 8628)."""

    __tablename__ = "devices"
    id: Mapped[int] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(Words(64), unique=True)
    user_code: Mapped[str] = mapped_column(Words(16), unique=True)
    client: Mapped[str] = mapped_column(Words(255))
    address: Mapped[str] = mapped_column(Words(64), default="", index=True)  # the network it was begun from
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    denied: Mapped[bool] = mapped_column(default=False)
    polled_at: Mapped[datetime | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class BrowserSessionRow(Base):
    """Where a browser session was last seen; `token` is the hub's number of it. Whether it lives, the hub knows."""

    __tablename__ = "browser_sessions"
    token: Mapped[str] = mapped_column(Words(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(Words(64))
    agent: Mapped[str] = mapped_column(Words(255))
    began_at: Mapped[datetime]
    used_at: Mapped[datetime] = mapped_column(index=True)


class IdempotencyRow(Base):
    """The answer that a create gave, so that a repeated request gets the same one."""

    __tablename__ = "idempotency"
    __table_args__ = (UniqueConstraint("person_id", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Words(255))
    request_hash: Mapped[str] = mapped_column(Words(64))
    status: Mapped[int]
    body: Mapped[str]  # empty where `sealed` has it
    sealed: Mapped[str | None] = mapped_column(Sealed())  # an answer that shows a secret
    created_at: Mapped[datetime] = mapped_column(index=True)


class MappingRow(Base):
    """What being in a group, or a unit, of the directory gives: a role in a tenant, or one over the platform."""

    __tablename__ = "mappings"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Words(16))
    value: Mapped[str] = mapped_column(Words(1024))  # name or DN of the group, DN of the unit
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))  # None: the platform
    role: Mapped[str] = mapped_column(Words(32))
