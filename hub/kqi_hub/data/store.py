"""Rows of data, and queries on them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from pydantic import Field
from sqlalchemy import ForeignKey, Index, UniqueConstraint, delete, func, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.clock import now
from kqi_hub.data.model import Data, File
from kqi_hub.db.base import Base, TenantOwned, Words
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import NotFound
from kqi_hub.identity.rows import PersonRow, TenantRow
from kqi_hub.identity.search import Made

# SQLite takes 32,766 parameters in a statement, PostgreSQL 32,767.
_AT_ONCE = 5_000


class DataRow(TenantOwned, Base):
    __tablename__ = "data"
    shared_as = ("data", "id")
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Words(255))
    memo: Mapped[str]
    files: Mapped[int] = mapped_column(default=0)
    size: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    draft: Mapped[bool] = mapped_column(default=False)  # its last files have not come: it is not there for any reader
    __table_args__ = (Index("ix_data_tenant_newest", "tenant_id", "id"), {"sqlite_autoincrement": True})


class DataTagRow(Base):
    __tablename__ = "data_tags"
    data_id: Mapped[int] = mapped_column(ForeignKey("data.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(Words(100), primary_key=True, index=True)


class DataFileRow(Base):
    __tablename__ = "data_files"
    id: Mapped[int] = mapped_column(primary_key=True)
    data_id: Mapped[int] = mapped_column(ForeignKey("data.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(Words(2048))
    sha256: Mapped[str] = mapped_column(Words(64), index=True)
    size: Mapped[int]
    __table_args__ = (UniqueConstraint("data_id", "path"),)


class StagedRow(TenantOwned, Base):
    """Bytes that a tenant has sent: only who sent a content, or has it in data, may refer to it by its hash."""

    __tablename__ = "staged"
    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(Words(64))
    size: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    __table_args__ = (UniqueConstraint("tenant_id", "sha256"),)


class UploadRow(TenantOwned, Base):
    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(Words(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    sha256: Mapped[str] = mapped_column(Words(64))
    size: Mapped[int]
    part_size: Mapped[int]
    complete: Mapped[bool] = mapped_column(default=False)
    changed_at: Mapped[datetime] = mapped_column(index=True)


class UploadPartRow(Base):
    __tablename__ = "upload_parts"
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


# Written as rows of a table, not as objects: thousands at a time.
_FILES, _STAGED = (Base.metadata.tables[name] for name in ("data_files", "staged"))


async def row(scope: Scope, data: int) -> DataRow:
    found = await scope.one_or_none(select(DataRow).where(DataRow.id == data, DataRow.draft.is_(False)))
    if found is None:
        raise NotFound("data", data)
    return found


async def row_to_change(scope: TenantScope, data: int) -> DataRow:
    """Return the row, also of a draft, if the person may change it. Raises NotFound or Forbidden."""
    found = await scope.one_or_none(select(DataRow).where(DataRow.id == data))
    if found is None:
        raise NotFound("data", data)
    await scope.check_change(found, "data", data, f"data/{data}")
    return found


async def find(scope: Scope, ids: Collection[int]) -> list[Data]:
    """Return those of `ids` that exist in the scope, newest first, drafts as well; `frozen` is left False."""
    rows = (
        await scope.execute(
            select(DataRow, TenantRow.name, PersonRow.name)
            .join(TenantRow, TenantRow.id == DataRow.tenant_id)
            .join(PersonRow, PersonRow.id == DataRow.created_by)
            .where(DataRow.id.in_(ids))
            .order_by(DataRow.id.desc())
        )
    ).all()
    tags: dict[int, list[str]] = {}
    for data, tag in (
        await scope.execute(select(DataTagRow.data_id, DataTagRow.tag).where(DataTagRow.data_id.in_(ids)))
    ).all():
        tags.setdefault(data, []).append(tag)
    return [
        Data(
            id=data.id,
            tenant_id=data.tenant_id,
            tenant=tenant,
            name=data.name,
            memo=data.memo,
            tags=tuple(sorted(tags.get(data.id, []))),
            files=data.files,
            size=data.size,
            frozen=False,
            created_by=person,
            created_at=data.created_at,
            changed_at=data.changed_at,
        )
        for data, tenant, person in rows
    ]


class Search(Made):
    """`q` is looked for in name and memo."""

    tag: str | None = Field(default=None, max_length=100)


async def page(scope: Scope, wanted: Search, *, before: int | None, limit: int) -> Sequence[int]:
    """Return up to `limit` ids, newest first."""
    query = select(DataRow.id).where(DataRow.draft.is_(False)).order_by(DataRow.id.desc()).limit(limit)
    query = query.where(*wanted.conditions(DataRow.created_by, DataRow.created_at, DataRow.name, DataRow.memo))
    if before is not None:
        query = query.where(DataRow.id < before)
    if wanted.tag:
        query = query.where(DataRow.id.in_(select(DataTagRow.data_id).where(DataTagRow.tag == wanted.tag)))
    return await scope.all(query)


async def files(
    scope: Scope, data: int, *, prefix: str = "", after: str | None = None, limit: int | None = None
) -> list[File]:
    """Return files in the order of their paths. The caller has checked that the data is in the scope."""
    query = select(DataFileRow).where(DataFileRow.data_id == data).order_by(DataFileRow.path)
    if prefix:
        # Not LIKE, for which SQLite takes "A" for "a"; the bound lets the index do it.
        query = query.where(DataFileRow.path >= prefix, func.substr(DataFileRow.path, 1, len(prefix)) == prefix)
    if after is not None:
        query = query.where(DataFileRow.path > after)
    rows = await scope.all(query.limit(limit) if limit else query)
    return [File(path=row.path, size=row.size, sha256=row.sha256) for row in rows]


async def file(scope: Scope, data: int, path: str) -> File:
    await row(scope, data)
    found = await scope.one_or_none(select(DataFileRow).where(DataFileRow.data_id == data, DataFileRow.path == path))
    if found is None:
        raise NotFound("file", path)
    return File(path=found.path, size=found.size, sha256=found.sha256)


async def set_tags(scope: Scope, data: int, tags: Iterable[str]) -> None:
    await scope.execute(delete(DataTagRow).where(DataTagRow.data_id == data))
    await scope.add(*[DataTagRow(data_id=data, tag=tag) for tag in sorted(set(tags))])


async def all_tags(scope: Scope) -> Sequence[str]:
    query = select(DataTagRow.tag).join(DataRow, DataRow.id == DataTagRow.data_id).where(DataRow.draft.is_(False))
    return await scope.all(query.distinct().order_by(DataTagRow.tag))


async def contents(scope: Scope, data: int, wanted: Sequence[str]) -> dict[str, str]:
    """Return path → hash of those of the `wanted` paths that the data has."""
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        query = select(DataFileRow.path, DataFileRow.sha256)
        query = query.where(DataFileRow.data_id == data, DataFileRow.path.in_(part))
        found.update((path, sha256) for path, sha256 in (await scope.execute(query)).all())
    return found


async def folders_of(scope: Scope, data: int) -> set[str]:
    """Return every path that is a folder of the data, because a file lies below it."""
    found: set[str] = set()
    for path in await scope.all(select(DataFileRow.path).where(DataFileRow.data_id == data)):
        while "/" in path:
            path = path.rsplit("/", 1)[0]
            if path in found:
                break
            found.add(path)
    return found


async def add_files(scope: Scope, data: DataRow, new: Sequence[File]) -> None:
    for start in range(0, len(new), _AT_ONCE):
        part = [
            {"data_id": data.id, "path": file.path, "sha256": file.sha256, "size": file.size}
            for file in new[start : start + _AT_ONCE]
        ]
        await scope.session.execute(insert(_FILES), part)
    data.files += len(new)
    data.size += sum(file.size for file in new)
    data.changed_at = now()
    await scope.flush()


async def remove_files(scope: Scope, data: DataRow, gone: Sequence[str]) -> None:
    for start in range(0, len(gone), _AT_ONCE):
        part = gone[start : start + _AT_ONCE]
        await scope.execute(delete(DataFileRow).where(DataFileRow.data_id == data.id, DataFileRow.path.in_(part)))
    totals = select(func.count(), func.coalesce(func.sum(DataFileRow.size), 0)).where(DataFileRow.data_id == data.id)
    data.files, data.size = (await scope.execute(totals)).one()
    data.changed_at = now()
    await scope.flush()


async def known_sizes(scope: TenantScope, hashes: Sequence[str]) -> dict[str, int]:
    """Return hash → size of those contents that the scope's tenant has sent or has in data."""
    found: dict[str, int] = {}
    for start in range(0, len(hashes), _AT_ONCE):
        part = hashes[start : start + _AT_ONCE]
        staged = select(StagedRow.sha256, StagedRow.size).where(
            StagedRow.sha256.in_(part), StagedRow.tenant_id == scope.tenant
        )
        found.update({sha256: size for sha256, size in (await scope.execute(staged)).all()})
        if rest := [sha256 for sha256 in part if sha256 not in found]:
            in_data = (
                select(DataFileRow.sha256, DataFileRow.size)
                .join(DataRow, DataRow.id == DataFileRow.data_id)
                .where(DataFileRow.sha256.in_(rest), DataRow.tenant_id == scope.tenant)
                .distinct()
            )
            found.update({sha256: size for sha256, size in (await scope.execute(in_data)).all()})
    return found


async def stage(scope: TenantScope, sizes: dict[str, int]) -> None:
    """Note that the scope's tenant has sent these contents, just now."""
    known = await stage_again(scope, list(sizes))
    at = now()
    fresh = [
        {"tenant_id": scope.tenant, "sha256": sha256, "size": size, "at": at}
        for sha256, size in sizes.items()
        if sha256 not in known
    ]
    if fresh:
        await scope.session.execute(insert(_STAGED), fresh)


async def stage_again(scope: TenantScope, hashes: Sequence[str]) -> set[str]:
    """Let what the tenant has staged count from now on, because it is about to be named; return which."""
    known: set[str] = set()
    for start in range(0, len(hashes), _AT_ONCE):
        mine = (StagedRow.tenant_id == scope.tenant) & StagedRow.sha256.in_(hashes[start : start + _AT_ONCE])
        again = update(StagedRow).where(mine).values(at=now()).returning(StagedRow.sha256)
        known.update(await scope.session.scalars(again.execution_options(synchronize_session=False)))
    return known
