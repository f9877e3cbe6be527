"""Seals say how far the log had come, signed by a key that is not in the database; retention takes from its beginning.

A chain of hashes alone can be made anew by whoever may write to the database, and its end can be cut off. Seals are
kept in the database and in a file of the state folder: who has changed the log would need the key and the file as well.
"""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.audit.log import AuditRow, Entry, append, written
from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words, kept
from kqi_hub.db.engine import Database
from kqi_spawner.workload import Secret

# Seals beyond these add nothing: the newest one vouches for all entries before it.
_KEPT = 1_000
_AT_ONCE = 2_000


class SealRow(Base):
    """Entry `entry` was the newest at `at`, and its hash was `hash`."""

    __tablename__ = "audit_seals"
    id: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[int]
    hash: Mapped[str] = mapped_column(Words(64))
    at: Mapped[datetime]
    mac: Mapped[str] = mapped_column(Words(64))


class AnchorRow(Base):
    """Entries up to `entry`, whose hash was `hash`, were let go of: the chain begins after it."""

    __tablename__ = "audit_anchors"
    id: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[int]
    hash: Mapped[str] = mapped_column(Words(64))
    at: Mapped[datetime]
    mac: Mapped[str] = mapped_column(Words(64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place of the chain: seal or anchor."""

    entry: int
    hash: str
    at: str
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Seals the log and prunes it. `file` holds the seals outside of the database; `keep_days` None: for ever."""

    database: Database
    key: Secret
    file: Path
    keep_days: int | None = None

    async def one_pass(self) -> None:
        await self.seal()
        await self.prune()

    async def seal(self) -> None:
        """Seal what came since the last seal; nothing is written where nothing came."""
        async with self.database.read() as session:
            if await self._unsealed(session) is None:
                return
        async with self.database.write() as session:
            newest = await self._unsealed(session)
            if newest is None:
                return
            at = now()
            made = self.signed("seal", Mark(entry=newest[0], hash=newest[1], at=at.isoformat()))
            session.add(SealRow(entry=made.entry, hash=made.hash, at=at, mac=made.mac))
            await session.flush()
            oldest_kept = select(SealRow.id).order_by(SealRow.id.desc()).offset(_KEPT).limit(1).scalar_subquery()
            await session.execute(delete(SealRow).where(SealRow.id <= oldest_kept))
        # After the commit: a seal of an entry that was rolled back would look like a log that was cut.
        await asyncio.to_thread(_keep, self.file, made)

    async def prune(self) -> int:
        """Let go of entries that are older than `keep_days`; return of how many. The newest entry always stays."""
        if self.keep_days is None:
            return 0
        async with self.database.write() as session:
            last = await self._too_old(session, now() - timedelta(days=self.keep_days))
            if last is not None:
                await self._anchor(session, *last)
        gone = 0
        while count := await self._remove_some():
            gone += count
        return gone

    def signed(self, kind: str, mark: Mark) -> Mark:
        message = f"{kind}:{mark.entry}:{mark.hash}:{mark.at}".encode()
        mac = hmac.new(self.key.reveal().encode(), message, hashlib.sha256).hexdigest()
        return Mark(entry=mark.entry, hash=mark.hash, at=mark.at, mac=mac)

    def genuine(self, kind: str, mark: Mark) -> bool:
        return hmac.compare_digest(self.signed(kind, mark).mac, kept(mark.mac))

    def outside(self) -> list[Mark]:
        """Return the seals of the file, oldest first. Blocks."""
        return [mark for line in _lines(self.file) if (mark := _read(line))]

    async def _unsealed(self, session: AsyncSession) -> tuple[int, str] | None:
        """Return number and hash of the newest entry, None if it is sealed."""
        newest = await session.execute(select(AuditRow.id, AuditRow.hash).order_by(AuditRow.id.desc()).limit(1))
        found = newest.first()
        sealed = await session.scalar(select(SealRow.entry).order_by(SealRow.id.desc()).limit(1))
        return None if found is None or found.id == sealed else (found.id, found.hash)

    async def _too_old(self, session: AsyncSession, before: datetime) -> tuple[int, str] | None:
        """Return the last of the entries to let go of: none after it is older, so that a hole cannot come to be."""
        young = select(func.min(AuditRow.id)).where(AuditRow.at >= before).scalar_subquery()
        newest = select(func.max(AuditRow.id)).scalar_subquery()
        anchored = select(func.coalesce(func.max(AnchorRow.entry), 0)).scalar_subquery()
        query = (
            select(AuditRow.id, AuditRow.hash)
            .where(AuditRow.id < func.coalesce(young, newest), AuditRow.id > anchored)
            .order_by(AuditRow.id.desc())
            .limit(1)
        )
        found = (await session.execute(query)).first()
        return (found.id, found.hash) if found else None

    async def _anchor(self, session: AsyncSession, entry: int, hashed: str) -> None:
        at = now()
        made = self.signed("anchor", Mark(entry=entry, hash=hashed, at=at.isoformat()))
        session.add(AnchorRow(entry=entry, hash=hashed, at=at, mac=made.mac))
        await session.flush()
        details = written({"through": entry, "keep_days": self.keep_days})
        await append(session, Entry(action="audit.prune", thing=f"audit/{entry}", details=details))

    async def _remove_some(self) -> int:
        async with self.database.write() as session:
            through = await session.scalar(select(func.max(AnchorRow.entry)))
            ids = select(AuditRow.id).where(AuditRow.id <= (through or 0)).order_by(AuditRow.id).limit(_AT_ONCE)
            done = await session.execute(
                delete(AuditRow).where(AuditRow.id.in_(ids)).execution_options(synchronize_session=False)
            )
        return int(done.rowcount)  # type: ignore[attr-defined]


def mark_of(row: SealRow | AnchorRow) -> Mark:
    return Mark(entry=row.entry, hash=row.hash, at=row.at.isoformat(), mac=row.mac)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []


def _read(line: str) -> Mark | None:
    """Return the seal of a line; None for one that a crash cut off."""
    try:
        return Mark(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _keep(path: Path, mark: Mark) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = _lines(path)
    if len(lines) < 2 * _KEPT:
        _append(path, [mark])
        return
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _append(fresh, [*(found for line in lines[-_KEPT:] if (found := _read(line))), mark])
    os.replace(fresh, path)


def _append(path: Path, marks: Iterable[Mark]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        # A line that a crash cut off must not swallow the next one.
        file.writelines(f"\n{json.dumps(asdict(mark))}" for mark in marks)
        file.flush()
        os.fsync(file.fileno())
