"""Somebody asks for an account, by a form that is open to everybody: bounded, and answered alike whoever asks."""

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words

WAITING, APPROVED, DECLINED = "waiting", "approved", "declined"
_EMAIL = re.compile(r"[^@\s<>\"]{1,64}@[^@\s<>\".]+(\.[^@\s<>\".]+)+")


class ApplicationRow(Base):
    """Somebody asks for an account. `terms` is the version accepted, `user` the account that was made."""

    __tablename__ = "applications"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    name: Mapped[str] = mapped_column(Words(255))
    email: Mapped[str] = mapped_column(Words(255))
    category: Mapped[str] = mapped_column(Words(64))
    affiliation: Mapped[str] = mapped_column(Words(255))
    terms: Mapped[str] = mapped_column(Words(64))
    language: Mapped[str] = mapped_column(Words(5))
    address: Mapped[str] = mapped_column(Words(64))
    state: Mapped[str] = mapped_column(Words(16))
    user: Mapped[str] = mapped_column(Words(64), default="")
    reason: Mapped[str] = mapped_column(Words(1000), default="")
    by: Mapped[str] = mapped_column(Words(64), default="")
    decided_at: Mapped[datetime | None]
    password_hash: Mapped[str] = mapped_column(Words(255), default="")  # for a directory; empty: it has no password
    __table_args__ = (Index("ix_applications_state", "state", "id"), {"sqlite_autoincrement": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed into the form."""

    name: str
    email: str
    category: str
    affiliation: str
    accepted: bool


def fault(asked: Asked, categories: list[str]) -> str | None:
    """Return the key of what is wrong with it, None if nothing is."""
    if not 0 < len(asked.name) <= 255 or not asked.name.isprintable():
        return "apply.name_missing"
    if len(asked.email) > 255 or not asked.email.isprintable() or not _EMAIL.fullmatch(asked.email):
        return "apply.email_wrong"
    if asked.category not in categories:
        return "apply.category_missing"
    if len(asked.affiliation) > 255 or not asked.affiliation.isprintable():
        return "apply.affiliation_wrong"
    return None if asked.accepted else "apply.terms_missing"


async def keep(session: AsyncSession, row: ApplicationRow, *, at_most: int) -> bool:
    """Keep an application, once for an e-mail address that waits; return whether there is room for it."""
    waiting = select(ApplicationRow.id).where(ApplicationRow.state == WAITING)
    if (await session.execute(waiting.where(ApplicationRow.email == row.email).limit(1))).first() is not None:
        return True
    if ((await session.scalar(select(func.count()).select_from(waiting.subquery()))) or 0) >= at_most:
        return False
    row.state, row.at = WAITING, now()
    session.add(row)
    await session.flush()
    return True
