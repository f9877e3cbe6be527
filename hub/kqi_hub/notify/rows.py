"""Rows of where people want to be told, and of what is still to be told."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words
from kqi_hub.vault import Sealed


class TargetRow(Base):
    """Where a person wants to be told. The address is a secret: whoever knows that of a chat can write there."""

    __tablename__ = "notification_targets"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(Words(16))
    name: Mapped[str] = mapped_column(Words(255))
    address: Mapped[str] = mapped_column(Sealed())  # URL, or where mail goes
    key: Mapped[str | None] = mapped_column(Sealed())  # what bodies of a webhook are signed by
    mention: Mapped[str] = mapped_column(Words(255), default="")
    events: Mapped[str]  # JSON list
    created_at: Mapped[datetime]
    told_at: Mapped[datetime | None]
    fault: Mapped[str] = mapped_column(Words(255), default="")  # why the last try failed; empty: it did not


class NoticeRow(Base):
    """Something that is to be told at a target; gone when it was, or when nobody tries any longer."""

    __tablename__ = "notices"
    id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("notification_targets.id", ondelete="CASCADE"), index=True)
    event: Mapped[str]  # JSON
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(index=True)
