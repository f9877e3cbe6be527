"""Rows of what people bring along: SSH keys, and what opens git servers and registries for them."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words
from kqi_hub.vault import Sealed


class SshKeyRow(Base):
    """A public key that opens the way for its person."""

    __tablename__ = "ssh_keys"
    __table_args__ = (UniqueConstraint("person_id", "fingerprint"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    fingerprint: Mapped[str] = mapped_column(Words(64), index=True)
    key: Mapped[str]  # type and key in base64, as in `authorized_keys`
    comment: Mapped[str] = mapped_column(Words(255), default="")
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    last_used_from: Mapped[str | None] = mapped_column(Words(64))


class CredentialRow(Base):
    """What a person signs in with at a git server or a registry."""

    __tablename__ = "credentials"
    __table_args__ = (UniqueConstraint("person_id", "kind", "server"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Words(16))  # git or registry
    server: Mapped[str] = mapped_column(Words(255))  # host, or host:port
    username: Mapped[str] = mapped_column(Words(255))
    secret: Mapped[str] = mapped_column(Sealed())
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
