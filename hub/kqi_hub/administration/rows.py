"""Rows of suspensions and errands."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words


class SuspensionRow(Base):
    """Why a person is suspended. `out_at`: when the hub had ended what it knows of them; None: still to be done."""

    __tablename__ = "suspensions"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Words(64))
    reason: Mapped[str] = mapped_column(Words(1000))
    out_at: Mapped[datetime | None]


class ErrandRow(Base):
    """Something that takes longer than a request: done in the background, step by step, with a report."""

    __tablename__ = "errands"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Words(32))
    about: Mapped[str] = mapped_column(Words(128))
    state: Mapped[str] = mapped_column(Words(16))
    asked: Mapped[str]  # JSON
    report: Mapped[str] = mapped_column(default="{}")  # JSON: what was done so far
    fault: Mapped[str] = mapped_column(default="")  # code of the error that ended it
    by_id: Mapped[int]
    by: Mapped[str] = mapped_column(Words(64))
    at: Mapped[datetime]
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_errands_state", "state", "id"), {"sqlite_autoincrement": True})
