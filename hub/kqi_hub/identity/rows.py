"""Rows of people, tenants, memberships and tokens."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words


class TenantRow(Base):
    __tablename__ = "tenants"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(63), unique=True)
    display_name: Mapped[str] = mapped_column(Words(255))
    data_types: Mapped[str] = mapped_column(Words(4096), default='["training", "validation", "testing"]')  # JSON list
    created_at: Mapped[datetime]


class PersonRow(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(64), unique=True)
    display_name: Mapped[str] = mapped_column(Words(255))
    administrator: Mapped[bool] = mapped_column(default=False)
    disabled: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str | None] = mapped_column(Words(5))
    default_tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[datetime]


class MembershipRow(Base):
    __tablename__ = "memberships"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(Words(32))


class LocalAccountRow(Base):
    """The password of a local account; `failures` in a row since the last good one."""

    __tablename__ = "local_accounts"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    password_hash: Mapped[str] = mapped_column(Words(255))
    must_change: Mapped[bool] = mapped_column(default=False)
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]


class TokenRow(Base):
    """A token for programs; `hash` is SHA-256 of its text. With `run_key` it is the token of that run alone."""

    __tablename__ = "tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(Words(255))
    hash: Mapped[str] = mapped_column(Words(64), unique=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    run_key: Mapped[int | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # None: as long as its run
    last_used_at: Mapped[datetime | None]


class DeviceRow(Base):
    """A sign-in of a program that waits for a person's approval in the browser (RFC 8628)."""

    __tablename__ = "devices"
    id: Mapped[int] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(Words(64), unique=True)
    user_code: Mapped[str] = mapped_column(Words(16), unique=True)
    client: Mapped[str] = mapped_column(Words(255))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    denied: Mapped[bool] = mapped_column(default=False)
    polled_at: Mapped[datetime | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class IdempotencyRow(Base):
    """The answer that a create gave, so that a repeated request gets the same one."""

    __tablename__ = "idempotency"
    __table_args__ = (UniqueConstraint("person_id", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Words(255))
    request_hash: Mapped[str] = mapped_column(Words(64))
    status: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
