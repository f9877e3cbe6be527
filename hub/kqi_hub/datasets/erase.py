"""Remove the datasets of a tenant that is erased."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.datasets.store import DatasetRow, EntryRow, VersionRow
from kqi_hub.tenants.erasure import Removed
from kqi_spawner.workload import StorePath

_AT_ONCE = 50


async def some(session: AsyncSession, tenant: int) -> Removed:
    query = select(DatasetRow.id).where(DatasetRow.tenant_id == tenant).order_by(DatasetRow.id).limit(_AT_ONCE)
    ids = list(await session.scalars(query))
    if not ids:
        return Removed()
    versions = select(VersionRow.id).where(VersionRow.dataset_id.in_(ids))
    keys = list(await session.scalars(versions))
    await session.execute(delete(EntryRow).where(EntryRow.version_id.in_(versions)))
    await session.execute(delete(VersionRow).where(VersionRow.dataset_id.in_(ids)))
    await session.execute(delete(DatasetRow).where(DatasetRow.id.in_(ids)))
    counts = {"datasets": len(ids), "dataset_versions": len(keys)}
    return Removed(counts, [StorePath(f"datasets/{dataset}") for dataset in ids])
