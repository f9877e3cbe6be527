"""Make, change, copy and freeze datasets."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kqi_hub.audit.log import record
from kqi_hub.clock import now
from kqi_hub.datasets import store
from kqi_hub.datasets.model import FLAT, Dataset, Layout, Version
from kqi_hub.datasets.store import DatasetRow, EntryRow, VersionRow
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import Conflict, Invalid
from kqi_hub.identity.rows import TenantRow

Entries = Mapping[str, Sequence[int]]
MAX_ENTRIES = 30_000


async def _unused(_scope: Scope, _dataset: int) -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class DatasetService:
    """`in_use` tells whether a run refers to a dataset; bootstrap wires it to the feature above that knows."""

    in_use: Callable[[Scope, int], Awaitable[bool]] = field(default=_unused)

    async def create(self, scope: TenantScope, *, name: str, memo: str, entries: Entries) -> Dataset:
        await self._check(scope, scope.tenant, entries)
        row = DatasetRow(tenant_id=scope.tenant, name=name, memo=memo, flat=FLAT in entries, current=1)
        row.created_by, row.created_at, row.changed_at = scope.person, now(), now()
        await scope.add(row)
        await self._add_version(scope, row, entries, row.current)
        await record(scope, row.tenant_id, "dataset.create", f"dataset/{row.id}")
        return await self.get(scope, row.id)

    async def get(self, scope: Scope, dataset: int) -> Dataset:
        await store.row(scope, dataset)
        return (await store.find(scope, [dataset]))[0]

    async def version(self, scope: Scope, dataset: int, number: int | None) -> Version:
        """Return that version, or the current one."""
        row = await store.row(scope, dataset)
        return store.to_version(await store.version_row(scope, dataset, number or row.current))

    async def change(self, scope: TenantScope, dataset: int, *, name: str | None, memo: str | None) -> Dataset:
        row = await store.row_to_change(scope, dataset)
        row.name = row.name if name is None else name
        row.memo = row.memo if memo is None else memo
        row.changed_at = now()
        await scope.flush()
        await record(scope, row.tenant_id, "dataset.change", f"dataset/{dataset}")
        return await self.get(scope, dataset)

    async def replace(self, scope: TenantScope, dataset: int, entries: Entries) -> Dataset:
        """Change what the current version holds. Raises Conflict once a training has used it.

        It keeps its number, by which notebooks know it.
        """
        row = await store.row_to_change(scope, dataset)
        old = await store.version_row(scope, dataset, row.current)
        if old.frozen:
            raise Conflict("dataset_frozen", id=dataset, version=row.current)
        await self._check_next(scope, row, entries)
        row.changed_at = now()
        await self._put_in_place(scope, row, old, entries)
        await record(scope, row.tenant_id, "dataset.version", f"dataset/{dataset}", version=row.current)
        return await self.get(scope, dataset)

    async def add_version(self, scope: TenantScope, dataset: int, entries: Entries) -> Dataset:
        """Make a further version the current one; earlier ones stay as they are."""
        row = await store.row_to_change(scope, dataset)
        await self._check_next(scope, row, entries)
        row.current = await store.next_number(scope, dataset)
        row.changed_at = now()
        await self._add_version(scope, row, entries, row.current)
        await record(scope, row.tenant_id, "dataset.version", f"dataset/{dataset}", version=row.current)
        return await self.get(scope, dataset)

    async def copy(self, scope: TenantScope, dataset: int, *, name: str, memo: str | None) -> Dataset:
        source = await self.get(scope, dataset)
        row = await store.row(scope, dataset)
        # It becomes the person's own: here if they may make one here, else where they may.
        own = scope.within(row.tenant_id if row.tenant_id in scope.reach.own else scope.tenant)
        text = source.memo if memo is None else memo
        return await self.create(own, name=name, memo=text, entries=source.version.entries)

    async def refill(self, scope: TenantScope, data: int) -> None:
        """Let each version that holds this data be laid out anew, as files came or went. None of them is frozen."""
        whole = Scope(scope.session)  # who may change the data need not see the datasets that hold it
        for old in await store.holding(whole, data):
            dataset = await store.row(whole, old.dataset_id)
            await self._put_in_place(whole, dataset, old, json.loads(old.entries))

    async def delete(self, scope: TenantScope, dataset: int) -> None:
        row = await store.row_to_change(scope, dataset)
        if await self.in_use(scope, dataset):
            raise Conflict("dataset_in_use", id=dataset)
        await scope.delete(row)
        await record(scope, row.tenant_id, "dataset.delete", f"dataset/{dataset}", name=row.name)

    async def freeze(self, scope: Scope, version: Version) -> None:
        row = await store.version_row(scope, version.dataset, version.number)
        row.frozen = True
        await scope.flush()

    async def thaw(self, scope: Scope, dataset: int, number: int) -> None:
        """Let a version change again, when the last run that used it is gone."""
        row = await store.find_version(scope, dataset, number)
        if row is not None:
            row.frozen = False
            await scope.flush()

    async def standing(self, scope: Scope, dataset: int, number: int | None) -> int:
        """Return the number, or the current one where that version is gone, as replacing entries once did to it."""
        if number is not None and await store.find_version(scope, dataset, number) is not None:
            return number
        return (await store.row(scope, dataset)).current

    async def data_types(self, scope: TenantScope) -> list[str]:
        tenant = await scope.session.get_one(TenantRow, scope.tenant)
        return list(json.loads(tenant.data_types))

    async def set_data_types(self, scope: TenantScope, names: Sequence[str]) -> list[str]:
        tenant = await scope.session.get_one(TenantRow, scope.tenant)
        tenant.data_types = json.dumps(list(names))
        await record(scope, tenant.id, "tenant.data_types", f"tenant/{tenant.name}", names=list(names))
        return list(names)

    async def _add_version(self, scope: Scope, dataset: DatasetRow, entries: Entries, number: int) -> None:
        distinct = {data for ids in entries.values() for data in ids}
        totals = await store.totals(Scope(scope.session), dataset.tenant_id, distinct)
        held = [totals[data] for ids in entries.values() for data in ids]
        row = VersionRow(
            tenant_id=dataset.tenant_id,
            dataset_id=dataset.id,
            number=number,
            entries=json.dumps(entries),
            files=sum(files for files, _ in held),
            size=sum(size for _, size in held),
            state=Layout.PENDING.value,
            message="",
            frozen=False,
            created_at=now(),
        )
        await scope.add(row)
        await scope.add(*[EntryRow(version_id=row.id, data_id=data) for data in sorted(distinct)])

    async def _put_in_place(self, scope: Scope, dataset: DatasetRow, old: VersionRow, entries: Entries) -> None:
        """Let a version of the same number, to be laid out anew, be where `old` is."""
        number, old.number = old.number, -old.number
        await scope.flush()
        # A row of its own, so that a layout that is under way cannot pass for this one.
        await self._add_version(scope, dataset, entries, number)
        await store.drop_version(scope, old)

    async def _check_next(self, scope: TenantScope, dataset: DatasetRow, entries: Entries) -> None:
        """Raise a KqiError for what the dataset cannot hold next."""
        if (FLAT in entries) != dataset.flat:
            raise Conflict("dataset_other_shape", id=dataset.id)
        await self._check(scope, dataset.tenant_id, entries, held=await store.held(scope, dataset.id))

    async def _check(
        self, scope: TenantScope, tenant: int, entries: Entries, *, held: Collection[int] = frozenset()
    ) -> None:
        """Raise Invalid for what a dataset of the tenant cannot hold. Data in `held` may stay, seen or not."""
        if FLAT not in entries:
            known = await self.data_types(scope.within(tenant))
            unknown = next((split for split in entries if split not in known), None)
            if unknown is not None:
                raise Invalid("data_type_unknown", name=unknown, known=", ".join(known))
        for split, ids in entries.items():
            if len(set(ids)) < len(ids):
                raise Invalid("data_twice", split=split)
        wanted = {data for ids in entries.values() for data in ids}
        if len(wanted) > MAX_ENTRIES:
            raise Invalid("too_many_entries", limit=MAX_ENTRIES)
        missing = wanted - set(held) - (await store.totals(scope, tenant, wanted)).keys()
        if missing:
            raise Invalid("data_missing", ids=", ".join(str(data) for data in sorted(missing)[:10]))
