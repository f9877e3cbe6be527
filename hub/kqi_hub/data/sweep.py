"""Remove what nobody will ask for: uploads and drafts that were given up, contents that no data and no run names."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from kqi_hub.clock import now
from kqi_hub.data.store import DataFileRow, DataRow, StagedRow, UploadRow
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.storage.blobs import Blobs

log = logging.getLogger(__name__)
# Of the given hashes, those that a feature above refers to.
Named = Callable[[Scope, Sequence[str]], Awaitable[set[str]]]
# The write lock is held for about 10 ms for as many.
_AT_ONCE = 200


@dataclass(slots=True, kw_only=True)
class DataSweep:
    """What was touched within `keep` stays, so that nobody who is sending or about to name a content loses it."""

    database: Database
    blobs: Blobs
    named: Named
    keep: timedelta = timedelta(hours=24)
    clock: Callable[[], datetime] = field(default=now)

    async def one_pass(self) -> None:
        before = self.clock() - self.keep
        async with self.database.write() as session:
            await session.connection()  # takes the write lock: nobody else has anything aside now
            await asyncio.to_thread(self.blobs.put_back)
        await self._drop_uploads(before)
        await self._drop_drafts(before)
        await self._drop_staged(before)
        await self._drop_strays(before)
        removed = 0
        for prefix in await asyncio.to_thread(self.blobs.prefixes):
            removed += await self._drop_blobs(prefix, before)
        if removed:
            log.info("contents removed", extra={"count": removed})

    async def _drop_uploads(self, before: datetime) -> None:
        old = select(UploadRow.id).where(UploadRow.changed_at < before)
        async with self.database.read() as session:
            found = await Scope(session).all(old)
        for part in _parts(found):
            async with self.database.write() as session:
                scope = Scope(session)
                left = await scope.all(old.where(UploadRow.id.in_(part)))
                fresh = await asyncio.to_thread(self.blobs.touched, left, before)
                gone = [upload for upload in left if upload not in fresh]
                await scope.execute(delete(UploadRow).where(UploadRow.id.in_(gone)))
            # Only now: a file that is gone while its row is there would pass for one that became a blob.
            await asyncio.to_thread(self.blobs.drop_incoming, gone)

    async def _drop_drafts(self, before: datetime) -> None:
        old = select(DataRow.id).where(DataRow.draft.is_(True), DataRow.changed_at < before)
        async with self.database.read() as session:
            found = await Scope(session).all(old)
        for data in found:
            async with self.database.write() as session:
                scope = Scope(session)
                left = await scope.one_or_none(select(DataRow).where(DataRow.id == data, DataRow.id.in_(old)))
                if left is not None:
                    await scope.execute(delete(DataFileRow).where(DataFileRow.data_id == data))
                    await scope.delete(left)

    async def _drop_staged(self, before: datetime) -> None:
        """Let go what was sent and not named; packed code stays sent while there is a run to be copied."""
        async with self.database.read() as session:
            old = select(StagedRow.sha256).where(StagedRow.at < before).distinct()
            found = await Scope(session).all(old)
        for part in _parts(found):
            async with self.database.write() as session:
                scope = Scope(session)
                gone = set(part) - await self.named(scope, part)
                await scope.execute(delete(StagedRow).where(StagedRow.sha256.in_(gone), StagedRow.at < before))

    async def _drop_strays(self, before: datetime) -> None:
        """Remove incoming files that a crash left without a row; no row will ever get their names."""
        old = await asyncio.to_thread(self.blobs.old_incoming, before)
        for part in _parts(old):
            async with self.database.read() as session:
                known = set(await Scope(session).all(select(UploadRow.id).where(UploadRow.id.in_(part))))
            await asyncio.to_thread(self.blobs.drop_incoming, [name for name in part if name not in known])

    async def _drop_blobs(self, prefix: str, before: datetime) -> int:
        removed = 0
        for part in _parts(await asyncio.to_thread(self.blobs.old, prefix, before)):
            async with self.database.read() as session:
                orphans = await self._orphans(Scope(session), part)
            if orphans:
                removed += await self._remove(orphans, before)
        return removed

    async def _remove(self, orphans: Sequence[str], before: datetime) -> int:
        # A row that names a content is committed either before this transaction, which then sees it, or after it. In
        # the second case its sender touched or wrote the blob less than `keep` ago: `Blobs.remove` looks at the age
        # once more when nobody can reach the file any longer, and a sender who comes later finds none and writes it.
        async with self.database.write() as session:
            left = await self._orphans(Scope(session), orphans)
            return await asyncio.to_thread(self.blobs.remove_each, left, before)

    async def _orphans(self, scope: Scope, hashes: Sequence[str]) -> list[str]:
        used = set(await scope.all(select(StagedRow.sha256).where(StagedRow.sha256.in_(hashes))))
        used |= set(await scope.all(select(DataFileRow.sha256).where(DataFileRow.sha256.in_(hashes)).distinct()))
        used |= await self.named(scope, hashes)
        return [sha256 for sha256 in hashes if sha256 not in used]


def _parts(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
