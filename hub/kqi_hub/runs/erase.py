"""Remove the runs of a tenant that is erased."""

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.datasets.store import DatasetRow
from kqi_hub.identity import tokens
from kqi_hub.runs.model import ENDED, Kind, folder
from kqi_hub.runs.rows import RunParentRow, RunRow
from kqi_hub.tenants.erasure import Removed

# The folders of as many are measured and removed at a time.
_AT_ONCE = 20


async def some(session: AsyncSession, tenant: int) -> Removed:
    """Take away ended runs, which all are in the archive; then what others have of its datasets."""
    ended = [phase.value for phase in ENDED]
    query = select(RunRow.key, RunRow.kind, RunRow.number).where(RunRow.tenant_id == tenant)
    rows = (await session.execute(query.where(RunRow.phase.in_(ended)).order_by(RunRow.key).limit(_AT_ONCE))).all()
    if not rows:
        return await _let_go_of_datasets(session, tenant)
    keys = [key for key, _, _ in rows]
    await session.execute(delete(RunParentRow).where(RunParentRow.parent_key.in_(keys)))
    for key in keys:
        await tokens.end_of_run(session, key)
    await session.execute(delete(RunRow).where(RunRow.key.in_(keys)))
    return Removed({"runs": len(keys)}, [folder(Kind(kind), number) for _, kind, number in rows], "run_bytes")


async def _let_go_of_datasets(session: AsyncSession, tenant: int) -> Removed:
    """Let runs of other tenants that used a dataset of this one, which was shared, do without it."""
    datasets = select(DatasetRow.id).where(DatasetRow.tenant_id == tenant)
    loose = update(RunRow).where(RunRow.dataset_id.in_(datasets), RunRow.tenant_id != tenant)
    done = await session.execute(
        loose.values(dataset_id=None, version=None).execution_options(synchronize_session=False)
    )
    count: int = done.rowcount  # type: ignore[attr-defined]
    return Removed({"runs_elsewhere_without_dataset": count} if count else {})
