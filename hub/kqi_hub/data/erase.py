"""Remove the data and the uploads of a tenant that is erased."""

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.data.store import DataFileRow, DataRow, DataTagRow, StagedRow, UploadPartRow, UploadRow
from kqi_hub.tenants.erasure import Removed
from kqi_spawner.workload import StorePath

_AT_ONCE = 50


async def some_data(session: AsyncSession, tenant: int) -> Removed:
    query = select(DataRow.id, DataRow.files, DataRow.size).where(DataRow.tenant_id == tenant)
    rows = (await session.execute(query.order_by(DataRow.id).limit(_AT_ONCE))).all()
    if not rows:
        return Removed()
    ids = [data for data, _, _ in rows]
    for part in (DataFileRow, DataTagRow):
        await session.execute(delete(part).where(part.data_id.in_(ids)))
    await session.execute(delete(DataRow).where(DataRow.id.in_(ids)))
    files, size = sum(files for _, files, _ in rows), sum(size for _, _, size in rows)
    return Removed({"data": len(ids), "data_files": files, "data_bytes": size})


async def uploads(session: AsyncSession, tenant: int) -> Removed:
    """Remove what was being sent, and the notes of what was sent and never named."""
    ids = list(await session.scalars(select(UploadRow.id).where(UploadRow.tenant_id == tenant).limit(1000)))
    staged = select(func.count()).select_from(StagedRow).where(StagedRow.tenant_id == tenant)
    notes = (await session.execute(staged)).scalar_one()
    await session.execute(delete(UploadPartRow).where(UploadPartRow.upload_id.in_(ids)))
    await session.execute(delete(UploadRow).where(UploadRow.id.in_(ids)))
    await session.execute(delete(StagedRow).where(StagedRow.tenant_id == tenant))
    counts = {**({"uploads": len(ids)} if ids else {}), **({"contents_never_named": notes} if notes else {})}
    return Removed(counts, [StorePath(f"uploads/{upload}") for upload in ids])
