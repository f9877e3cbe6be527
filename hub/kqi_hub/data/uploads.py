"""How bytes come in: small files in batches, large ones in parts that may be sent in any order and again."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from sqlalchemy import delete, select

from kqi_hub.clock import now
from kqi_hub.data import store
from kqi_hub.data.store import UploadPartRow, UploadRow
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Conflict, Invalid, NotFound, TooLarge
from kqi_hub.ids import opaque
from kqi_hub.storage import partial
from kqi_hub.storage.blobs import Blobs, Stored, file_sha256
from kqi_hub.storage.store import answering_disk_errors

# Of a tar stream, headers and padding come on top of the files themselves.
_TAR_OVERHEAD = 2 * 512 + 1024
MAX_PARTS = 100_000


class Uploads:
    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    async def receive(
        self, chunks: AsyncIterator[bytes], *, files: int, size: int, check: Callable[[str], None]
    ) -> list[Stored]:
        """Store a batch; needs no transaction. The caller stages what is returned."""
        path = self.blobs.incoming / f".batch-{secrets.token_hex(8)}"
        try:
            await _save(chunks, path, size + files * _TAR_OVERHEAD)
            return await asyncio.to_thread(self.blobs.take_batch, path, files=files, size=size, check=check)
        finally:
            path.unlink(missing_ok=True)

    async def start(self, scope: TenantScope, sha256: str, size: int, part_size: int) -> UploadRow:
        """Return the person's unfinished upload of this content, or a new one; complete if the tenant has it."""
        if size > part_size * MAX_PARTS:
            raise Invalid("part_size_too_small", parts=MAX_PARTS)
        known = (await store.known_sizes(scope, [sha256])).get(sha256)
        query = select(UploadRow).where(
            UploadRow.person_id == scope.person,
            UploadRow.tenant_id == scope.tenant,
            UploadRow.sha256 == sha256,
            UploadRow.size == size,
            UploadRow.part_size == part_size,
        )
        row = (await scope.execute(query.limit(1))).scalar_one_or_none()
        if row is None:
            row = UploadRow(id=opaque(), tenant_id=scope.tenant, person_id=scope.person, sha256=sha256, size=size)
            row.part_size, row.changed_at, row.complete = part_size, now(), False
            await scope.add(row)
        row.complete, row.changed_at = known == size, now()
        await store.stage_again(scope, [sha256])
        if not row.complete:
            if not self._path(row.id).exists():
                await self.reset(scope, row.id)
            partial.create(self._path(row.id), size)
        await scope.flush()
        return row

    async def find(self, scope: TenantScope, upload: str) -> UploadRow:
        mine = (UploadRow.person_id == scope.person) & UploadRow.tenant_id.in_(sorted(scope.reach.own))
        query = select(UploadRow).where(UploadRow.id == upload, mine)
        row = await scope.one_or_none(query)
        if row is None:
            raise NotFound("upload", upload)
        return row

    async def parts(self, scope: TenantScope, upload: str) -> list[int]:
        query = select(UploadPartRow.number).where(UploadPartRow.upload_id == upload).order_by(UploadPartRow.number)
        return list(await scope.all(query))

    async def write(self, row: UploadRow, number: int, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a part to its place; needs no transaction. The caller then calls `received`."""
        count = -(-row.size // row.part_size)
        if not 0 <= number < count:
            raise Invalid("part_unknown", parts=count)
        if row.complete:
            raise Conflict("upload_complete")
        offset = number * row.part_size
        try:
            await partial.write_part(self._path(row.id), offset, min(row.part_size, row.size - offset), sha256, chunks)
        except FileNotFoundError as error:
            raise NotFound("upload", row.id) from error

    async def received(self, scope: TenantScope, upload: str, number: int) -> None:
        row = await self.find(scope, upload)
        row.changed_at = now()
        await scope.session.merge(UploadPartRow(upload_id=upload, number=number))

    async def assemble(self, row: UploadRow, parts: list[int]) -> None:
        """Check the whole and make it a blob; needs no transaction. Raises Conflict while parts are missing."""
        count = -(-row.size // row.part_size)
        if len(parts) < count:
            missing = sorted(set(range(count)) - set(parts))[:10]
            raise Conflict("upload_parts_missing", parts=", ".join(map(str, missing)))
        await asyncio.to_thread(self._take, row)

    async def completed(self, scope: TenantScope, upload: str) -> UploadRow:
        row = await self.find(scope, upload)
        row.complete, row.changed_at = True, now()
        await store.stage(scope.within(row.tenant_id), {row.sha256: row.size})
        return row

    async def reset(self, scope: TenantScope, upload: str) -> None:
        """Forget the parts of an upload whose whole did not have the promised hash."""
        await scope.execute(delete(UploadPartRow).where(UploadPartRow.upload_id == upload))

    def _take(self, row: UploadRow) -> None:
        path = self._path(row.id)
        with answering_disk_errors():
            try:
                with partial.sealed(path):
                    if file_sha256(path) != row.sha256:
                        raise Conflict("upload_wrong_hash")
                    self.blobs.take(path, row.sha256)
            except FileNotFoundError as error:
                # After a crash between the rename and the commit the blob is there and the file is not.
                if not self.blobs.has(row.sha256):
                    raise NotFound("upload", row.id) from error

    def _path(self, upload: str) -> Path:
        return self.blobs.incoming / upload


async def _save(chunks: AsyncIterator[bytes], path: Path, limit: int) -> None:
    total = 0
    with answering_disk_errors(), path.open("xb") as file:
        async for chunk in chunks:
            total += len(chunk)
            if total > limit:
                raise TooLarge("body_too_large")
            file.write(chunk)
