"""Rows of what tenants have beside their members."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words


class JoinRequestRow(Base):
    """Somebody asks to be let in; gone once a manager has answered."""

    __tablename__ = "join_requests"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, index=True)
    message: Mapped[str] = mapped_column(Words(1024))
    created_at: Mapped[datetime]


class ServerRow(Base):
    """A git server or an image registry that an administrator has defined."""

    __tablename__ = "servers"
    id: Mapped[int] = mapped_column(primary_key=True)
    use: Mapped[str] = mapped_column(Words(16))
    name: Mapped[str] = mapped_column(Words(63))
    kind: Mapped[str] = mapped_column(Words(16))
    url: Mapped[str] = mapped_column(Words(255))
    __table_args__ = (UniqueConstraint("use", "name"),)


class TenantServerRow(Base):
    """A server that a tenant was given; `chosen` is what its people begin with."""

    __tablename__ = "tenant_servers"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    server_id: Mapped[int] = mapped_column(ForeignKey("servers.id"), primary_key=True, index=True)
    chosen: Mapped[bool] = mapped_column(default=False)


class ErasureRow(Base):
    """A tenant being erased, and afterwards the report. `leftovers` are folders whose rows are gone already."""

    __tablename__ = "erasures"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(index=True)
    tenant: Mapped[str] = mapped_column(Words(63))
    asked_by: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"))
    asked_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    counts: Mapped[str] = mapped_column(default="{}")  # JSON: kind of thing → how many, or how many bytes
    leftovers: Mapped[str] = mapped_column(default="[]")  # JSON list of places in the store
