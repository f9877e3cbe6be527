"""Rows of versions of the terms and of who accepted them."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words


class TermsRow(Base):
    """A version; the one with the highest number is in force."""

    __tablename__ = "terms"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    texts: Mapped[str]  # JSON: language -> text
    published_at: Mapped[datetime]
    published_by: Mapped[str] = mapped_column(Words(64))


class AcceptanceRow(Base):
    __tablename__ = "terms_accepted"
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("terms.version"), primary_key=True)
    at: Mapped[datetime]
    address: Mapped[str] = mapped_column(Words(64))
