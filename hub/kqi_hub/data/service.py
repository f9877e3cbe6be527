"""Register, change and delete data."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from kqi_hub.audit.log import record
from kqi_hub.clock import now
from kqi_hub.data import store
from kqi_hub.data.model import Data, File
from kqi_hub.data.store import DataRow
from kqi_hub.data.uploads import Uploads
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import Conflict, Invalid

# Answers, for ids of data: those that are in a frozen dataset version, and those in any dataset at all.
Used = Callable[[Scope, Iterable[int]], Awaitable[set[int]]]
Changed = Callable[[TenantScope, int], Awaitable[None]]


async def _nowhere(_scope: Scope, _ids: Iterable[int]) -> set[int]:
    return set()


async def _nobody(_scope: TenantScope, _data: int) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """What a data is to be; a draft is seen by nobody until it is finished."""

    name: str
    memo: str
    tags: Sequence[str]
    draft: bool


@dataclass(slots=True, kw_only=True)
class DataService:
    """What is used, and who hears of changed files, is wired by bootstrap to the feature above that knows."""

    uploads: Uploads
    frozen: Used = field(default=_nowhere)
    in_dataset: Used = field(default=_nowhere)
    changed: Changed = field(default=_nobody)  # within the transaction
    wake: Callable[[], None] = field(default=lambda: None)  # after it

    async def create(self, scope: TenantScope, new: New, files: Sequence[tuple[str, str]]) -> Data:
        """`files` are pairs of path and hash of contents that the tenant has sent."""
        row = DataRow(tenant_id=scope.tenant, name=new.name, memo=new.memo, files=0, size=0, created_by=scope.person)
        row.draft, row.created_at = new.draft, now()
        row.changed_at = row.created_at
        await scope.add(row)
        await store.set_tags(scope, row.id, new.tags)
        if files:
            await self._add(scope, row, files)
        await record(scope, row.tenant_id, "data.create", f"data/{row.id}", files=len(files))
        return await self._one(scope, row.id)

    async def get(self, scope: Scope, data: int) -> Data:
        await store.row(scope, data)
        return await self._one(scope, data)

    async def several(self, scope: Scope, ids: Sequence[int]) -> list[Data]:
        frozen = await self.frozen(scope, ids)
        return [replace(data, frozen=data.id in frozen) for data in await store.find(scope, ids)]

    async def change(
        self, scope: TenantScope, data: int, *, name: str | None, memo: str | None, tags: Iterable[str] | None
    ) -> Data:
        """Name, memo and tags may always change; None leaves one as it is."""
        row = await store.row_to_change(scope, data)
        row.name = row.name if name is None else name
        row.memo = row.memo if memo is None else memo
        row.changed_at = now()
        await scope.flush()
        if tags is not None:
            await store.set_tags(scope, data, tags)
        await record(scope, row.tenant_id, "data.change", f"data/{data}")
        return await self._one(scope, data)

    async def add_files(self, scope: TenantScope, data: int, files: Sequence[tuple[str, str]]) -> Data:
        row = await self._thawed(scope, data)
        await self._add(scope, row, files)
        await self.changed(scope, data)
        await record(scope, row.tenant_id, "data.add_files", f"data/{data}", files=len(files))
        return await self._one(scope, data)

    async def finish(self, scope: TenantScope, data: int) -> Data:
        """Let everybody see a data whose last files have come; one that is whole already is left as it is."""
        row = await store.row_to_change(scope, data)
        row.draft = False
        await scope.flush()
        return await self._one(scope, data)

    async def remove_files(self, scope: TenantScope, data: int, paths: Sequence[str]) -> Data:
        row = await self._thawed(scope, data)
        await store.remove_files(scope, row, paths)
        await self.changed(scope, data)
        await record(scope, row.tenant_id, "data.remove_files", f"data/{data}", files=len(paths))
        return await self._one(scope, data)

    async def delete(self, scope: TenantScope, data: int) -> None:
        row = await self._thawed(scope, data)
        if await self.in_dataset(scope, [data]):
            raise Conflict("data_in_dataset", id=data)
        await scope.delete(row)
        await record(scope, row.tenant_id, "data.delete", f"data/{data}", name=row.name)

    async def _one(self, scope: Scope, data: int) -> Data:
        return (await self.several(scope, [data]))[0]

    async def _thawed(self, scope: TenantScope, data: int) -> DataRow:
        row = await store.row_to_change(scope, data)
        if await self.frozen(scope, [data]):
            raise Conflict("data_frozen", id=data)
        return row

    async def _add(self, scope: TenantScope, row: DataRow, files: Sequence[tuple[str, str]]) -> None:
        paths = [path for path, _ in files]
        wanted = set(paths)
        if len(wanted) < len(paths):
            raise Invalid("file_twice", path=Counter(paths).most_common(1)[0][0])
        there = await store.contents(scope, row.id, paths) if row.files else {}
        if other := [path for path, sha256 in files if there.get(path, sha256) != sha256]:
            raise Conflict("file_exists", path=min(other))
        # Sent again after a cut: what has come is left as it is.
        files = [(path, sha256) for path, sha256 in files if path not in there]
        await self._check_folders(scope, row, wanted - there.keys())
        # Who was let in from another tenant names what they have sent to their own.
        own = scope.within(row.tenant_id if row.tenant_id in scope.tenants else scope.tenant)
        sizes = await store.known_sizes(own, sorted({sha256 for _, sha256 in files}))
        unknown = next((path for path, sha256 in files if sha256 not in sizes), None)
        if unknown is not None:
            raise Invalid("content_not_uploaded", path=unknown)
        await store.add_files(
            scope, row, [File(path=path, size=sizes[sha256], sha256=sha256) for path, sha256 in files]
        )

    async def _check_folders(self, scope: TenantScope, row: DataRow, new: set[str]) -> None:
        """A name cannot be a file and a folder at once."""
        folders = {path.rsplit("/", depth)[0] for path in new for depth in range(1, path.count("/") + 1)}
        if row.files:
            clash = folders & (await store.contents(scope, row.id, sorted(folders))).keys() if folders else set()
            clash |= new & await store.folders_of(scope, row.id)
        else:
            clash = set()
        clash |= new & folders
        if clash:
            raise Conflict("file_is_folder", path=min(clash))
