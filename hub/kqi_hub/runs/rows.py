"""Rows of runs."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, TenantOwned, Words


class RunRow(TenantOwned, Base):
    __tablename__ = "runs"
    shared_as = ("run", "key")
    key: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Words(16))
    number: Mapped[int]
    attempt: Mapped[int] = mapped_column(default=1)
    title: Mapped[str] = mapped_column(Words(255))
    name: Mapped[str] = mapped_column(Words(30))
    phase: Mapped[str] = mapped_column(Words(16))
    reason: Mapped[str | None] = mapped_column(Words(64))
    message: Mapped[str] = mapped_column(default="")
    command: Mapped[str]
    source: Mapped[str | None]  # JSON of model.Source
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    version: Mapped[int | None]
    image: Mapped[str] = mapped_column(Words(255))
    environment: Mapped[str]  # JSON
    cpu_milli: Mapped[int]
    memory_mib: Mapped[int]
    gpus: Mapped[int]
    gpu_kind: Mapped[str | None] = mapped_column(Words(100))
    cards: Mapped[str] = mapped_column(default="[]")  # JSON: what it held when it was admitted
    zip: Mapped[bool]
    stop_at_first_failure: Mapped[bool]
    local_dataset: Mapped[bool]
    grace_s: Mapped[float]
    memo: Mapped[str]
    favorite: Mapped[bool] = mapped_column(default=False)
    server: Mapped[str] = mapped_column(Words(30), default="")  # name of the hub's server, for a notebook
    stop: Mapped[str | None] = mapped_column(Words(16))
    exit_code: Mapped[int | None]
    created_by: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("kind", "number"),
        Index("ix_runs_newest", "tenant_id", "kind", "key"),
        Index("ix_runs_phase", "phase", "key"),
        {"sqlite_autoincrement": True},
    )


class RunParentRow(Base):
    __tablename__ = "run_parents"
    run_key: Mapped[int] = mapped_column(ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True)
    parent_key: Mapped[int] = mapped_column(ForeignKey("runs.key"), primary_key=True, index=True)


class RunTagRow(Base):
    __tablename__ = "run_tags"
    run_key: Mapped[int] = mapped_column(ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(Words(100), primary_key=True, index=True)


class RunEventRow(Base):
    __tablename__ = "run_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_key: Mapped[int] = mapped_column(ForeignKey("runs.key", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    phase: Mapped[str] = mapped_column(Words(16))
    reason: Mapped[str | None] = mapped_column(Words(64))
    message: Mapped[str] = mapped_column(default="")


class SequenceRow(Base):
    """The last number given out for a kind of run."""

    __tablename__ = "sequences"
    kind: Mapped[str] = mapped_column(Words(16), primary_key=True)
    last: Mapped[int]
