"""Rows of datasets, and queries on them."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.data.store import DataFileRow, DataRow
from kqi_hub.datasets.layout import Placed, folder, placed
from kqi_hub.datasets.model import Dataset, Layout, Version
from kqi_hub.db.base import Base, TenantOwned, Words
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.db.sharing import seen_with
from kqi_hub.errors import NotFound
from kqi_hub.identity.rows import PersonRow, TenantRow
from kqi_hub.identity.search import Made


class DatasetRow(TenantOwned, Base):
    __tablename__ = "datasets"
    shared_as = ("dataset", "id")
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(255))
    memo: Mapped[str]
    flat: Mapped[bool]
    current: Mapped[int]  # number of the current version
    created_by: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    __table_args__ = (Index("ix_datasets_tenant_newest", "tenant_id", "id"), {"sqlite_autoincrement": True})


class VersionRow(TenantOwned, Base):
    __tablename__ = "dataset_versions"
    shared_as = ("dataset", "dataset_id")
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int]
    entries: Mapped[str]  # JSON: split → ids of data
    files: Mapped[int]
    size: Mapped[int]
    state: Mapped[str] = mapped_column(Words(16), index=True)
    message: Mapped[str] = mapped_column(default="")
    frozen: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)


class EntryRow(Base):
    """Which data a version holds: the other direction of `VersionRow.entries`, for the rules of data."""

    __tablename__ = "dataset_entries"
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"), primary_key=True)
    data_id: Mapped[int] = mapped_column(ForeignKey("data.id"), primary_key=True, index=True)


_entries, _versions = EntryRow.__table__, VersionRow.__table__
seen_with(
    "data",
    "dataset",
    lambda datasets: (
        select(_entries.c.data_id)
        .join(_versions, _versions.c.id == _entries.c.version_id)
        .where(_versions.c.dataset_id.in_(datasets))
    ),
)


async def row(scope: Scope, dataset: int) -> DatasetRow:
    found = await scope.one_or_none(select(DatasetRow).where(DatasetRow.id == dataset))
    if found is None:
        raise NotFound("dataset", dataset)
    return found


async def row_to_change(scope: TenantScope, dataset: int) -> DatasetRow:
    """Return the row if the person may change it. Raises NotFound or Forbidden."""
    found = await row(scope, dataset)
    await scope.check_change(found, "dataset", dataset, f"dataset/{dataset}")
    return found


async def find_version(scope: Scope, dataset: int, number: int) -> VersionRow | None:
    query = select(VersionRow).where(VersionRow.dataset_id == dataset, VersionRow.number == number)
    return await scope.one_or_none(query)


async def version_row(scope: Scope, dataset: int, number: int) -> VersionRow:
    found = await find_version(scope, dataset, number)
    if found is None:
        raise NotFound("dataset version", f"{dataset}:{number}")
    return found


async def find(scope: Scope, ids: Sequence[int]) -> list[Dataset]:
    query = (
        select(DatasetRow, VersionRow, TenantRow.name, PersonRow.name)
        .join(VersionRow, (VersionRow.dataset_id == DatasetRow.id) & (VersionRow.number == DatasetRow.current))
        .join(TenantRow, TenantRow.id == DatasetRow.tenant_id)
        .join(PersonRow, PersonRow.id == DatasetRow.created_by)
        .where(DatasetRow.id.in_(ids))
    )
    return [
        Dataset(
            id=dataset.id,
            tenant=tenant,
            name=dataset.name,
            memo=dataset.memo,
            flat=dataset.flat,
            version=to_version(version),
            created_by=person,
            created_at=dataset.created_at,
            changed_at=dataset.changed_at,
        )
        for dataset, version, tenant, person in (await scope.execute(query)).all()
    ]


def to_version(row: VersionRow) -> Version:
    return Version(
        key=row.id,
        dataset=row.dataset_id,
        number=row.number,
        entries=json.loads(row.entries),
        files=row.files,
        size=row.size,
        state=Layout(row.state),
        message=row.message,
        frozen=row.frozen,
        created_at=row.created_at,
    )


async def page(scope: Scope, wanted: Made, *, before: int | None, limit: int) -> Sequence[int]:
    """Return up to `limit` ids, newest first."""
    query = select(DatasetRow.id).order_by(DatasetRow.id.desc()).limit(limit)
    query = query.where(
        *wanted.conditions(DatasetRow.created_by, DatasetRow.created_at, DatasetRow.name, DatasetRow.memo)
    )
    if before is not None:
        query = query.where(DatasetRow.id < before)
    return await scope.all(query)


async def versions(scope: Scope, dataset: int, *, before: int | None, limit: int) -> list[Version]:
    query = select(VersionRow).where(VersionRow.dataset_id == dataset).order_by(VersionRow.number.desc()).limit(limit)
    if before is not None:
        query = query.where(VersionRow.number < before)
    return [to_version(row) for row in await scope.all(query)]


async def next_number(scope: Scope, dataset: int) -> int:
    query = select(func.coalesce(func.max(VersionRow.number), 0)).where(VersionRow.dataset_id == dataset)
    return int(await scope.scalar(query)) + 1


async def placed_files(scope: Scope, version: Version) -> list[Placed]:
    """Return every file of the version with its place."""
    query = (
        select(DataFileRow.data_id, DataFileRow.path, DataFileRow.sha256, DataFileRow.size)
        .join(EntryRow, EntryRow.data_id == DataFileRow.data_id)
        .where(EntryRow.version_id == version.key)
        .order_by(DataFileRow.data_id, DataFileRow.path)
    )
    files: dict[int, list[tuple[str, str, int]]] = {}
    for data, path, sha256, size in (await scope.execute(query)).all():
        files.setdefault(data, []).append((path, sha256, size))
    return placed(version, files)


async def files_page(scope: Scope, version: Version, *, after: str | None, limit: int) -> list[Placed]:
    """Return up to `limit` files in the order of their paths, at the cost of a page, not of the dataset."""
    folders = sorted((f"{folder(split, data)}/", data) for split, ids in version.entries.items() for data in ids)
    found: list[Placed] = []
    for place, data in folders:
        if after is not None and place < after and not after.startswith(place):
            continue
        query = select(DataFileRow.path, DataFileRow.sha256, DataFileRow.size).where(DataFileRow.data_id == data)
        if after is not None and after.startswith(place):
            query = query.where(DataFileRow.path > after.removeprefix(place))
        rows = (await scope.execute(query.order_by(DataFileRow.path).limit(limit - len(found)))).all()
        found += [Placed(f"{place}{path}", data, sha256, size) for path, sha256, size in rows]
        if len(found) == limit:
            break
    return found


async def totals(scope: Scope, tenant: int, ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Return id → (files, bytes) of those data of the tenant that exist in the scope."""
    query = select(DataRow.id, DataRow.files, DataRow.size).where(
        DataRow.id.in_(list(ids)), DataRow.tenant_id == tenant, DataRow.draft.is_(False)
    )
    return {data: (files, size) for data, files, size in (await scope.execute(query)).all()}


async def held(scope: Scope, dataset: int) -> set[int]:
    """Return the ids of data that any version of the dataset holds."""
    query = select(EntryRow.data_id).join(VersionRow, VersionRow.id == EntryRow.version_id)
    return set(await scope.all(query.where(VersionRow.dataset_id == dataset).distinct()))


async def pending(scope: Scope) -> list[int]:
    """Return the keys of versions whose tree is still to be laid out, oldest first."""
    return list(
        await scope.all(select(VersionRow.id).where(VersionRow.state == Layout.PENDING).order_by(VersionRow.id))
    )


async def in_versions(scope: Scope, ids: Iterable[int], *, frozen: bool) -> set[int]:
    """Return those of the data `ids` that a version (a frozen one, with `frozen`) holds."""
    query = select(EntryRow.data_id).where(EntryRow.data_id.in_(list(ids)))
    if frozen:
        query = query.join(VersionRow, VersionRow.id == EntryRow.version_id).where(VersionRow.frozen.is_(True))
    # Who sees the data need not see the datasets that hold it.
    return set(await Scope(scope.session).all(query.distinct()))


async def holding(scope: Scope, data: int) -> Sequence[VersionRow]:
    """Return the versions, of all datasets, that hold this data."""
    query = select(VersionRow).join(EntryRow, EntryRow.version_id == VersionRow.id).where(EntryRow.data_id == data)
    return await scope.all(query.order_by(VersionRow.id))


async def drop_version(scope: Scope, row: VersionRow) -> None:
    await scope.execute(delete(EntryRow).where(EntryRow.version_id == row.id))
    await scope.delete(row)
