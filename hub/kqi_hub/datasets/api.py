"""Routes of datasets."""

from typing import Annotated

from fastapi import Path, Query

from kqi import schema
from kqi_hub.datasets import store
from kqi_hub.datasets.model import FLAT, Dataset, Version
from kqi_hub.datasets.service import DatasetService, Entries
from kqi_hub.datasets.trees import LayoutLoop
from kqi_hub.errors import Invalid
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.search import Made
from kqi_hub.web import paging
from kqi_hub.web.call import Caller, CollectionCaller, ListCaller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes

routes = Routes("datasets")
Service = Annotated[DatasetService, feature(DatasetService)]
DatasetId = Annotated[int, Path(ge=1, le=2**53 - 1)]


LayOut = Annotated[LayoutLoop, feature(LayoutLoop)]


@routes.post("/datasets", permission=Permission.DATASET_WRITE, status=201)
async def create_dataset(
    call: CollectionCaller, body: schema.CreateDataset, datasets: Service, layout: LayOut
) -> schema.Dataset:
    call.after.append(layout.wake)
    made = await datasets.create(call.collection, name=body.name, memo=body.memo, entries=_entries(body.entries))
    return to_wire(made)


@routes.get("/datasets", permission=Permission.DATASET_READ)
async def list_datasets(
    call: ListCaller,
    search: Annotated[Made, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> schema.Page[schema.Dataset]:
    """List newest first; `q` is looked for in name and memo."""
    ids = await store.page(call.listed, search, before=paging.number_after(cursor), limit=limit + 1)
    found = {item.id: item for item in await store.find(call.listed, ids[:limit])}
    return paging.page(ids, limit, lambda key: key, lambda key: to_wire(found[key]))


@routes.get("/datasets/{dataset_id}", permission=Permission.DATASET_READ)
async def get_dataset(call: Caller, dataset_id: DatasetId, datasets: Service) -> schema.Dataset:
    return to_wire(await datasets.get(call.scope, dataset_id))


@routes.patch("/datasets/{dataset_id}", permission=Permission.DATASET_WRITE)
async def change_dataset(
    call: Caller, dataset_id: DatasetId, body: schema.ChangeDataset, datasets: Service
) -> schema.Dataset:
    return to_wire(await datasets.change(call.scope, dataset_id, name=body.name, memo=body.memo))


@routes.delete("/datasets/{dataset_id}", permission=Permission.DATASET_WRITE)
async def delete_dataset(call: Caller, dataset_id: DatasetId, datasets: Service) -> None:
    await datasets.delete(call.scope, dataset_id)


@routes.put("/datasets/{dataset_id}/entries", permission=Permission.DATASET_WRITE)
async def replace_entries(
    call: Caller, dataset_id: DatasetId, body: schema.Entries, datasets: Service, layout: LayOut
) -> schema.Dataset:
    """Change what the current version holds; refused once a run has used it."""
    call.after.append(layout.wake)
    return to_wire(await datasets.replace(call.scope, dataset_id, _entries(body)))


@routes.post("/datasets/{dataset_id}/versions", permission=Permission.DATASET_WRITE, status=201)
async def add_version(
    call: Caller, dataset_id: DatasetId, body: schema.Entries, datasets: Service, layout: LayOut
) -> schema.Dataset:
    call.after.append(layout.wake)
    return to_wire(await datasets.add_version(call.scope, dataset_id, _entries(body)))


@routes.get("/datasets/{dataset_id}/versions", permission=Permission.DATASET_READ)
async def list_versions(
    call: Caller, dataset_id: DatasetId, limit: Limit = 50, cursor: Cursor = None
) -> schema.Page[schema.DatasetVersion]:
    await store.row(call.scope, dataset_id)
    before = paging.number_after(cursor)
    found = await store.versions(call.scope, dataset_id, before=before, limit=limit + 1)
    return paging.page(found, limit, lambda version: version.number, version_to_wire)


@routes.post("/datasets/{dataset_id}/copy", permission=Permission.DATASET_WRITE, status=201)
async def copy_dataset(
    call: Caller, dataset_id: DatasetId, body: schema.CopyDataset, datasets: Service, layout: LayOut
) -> schema.Dataset:
    call.after.append(layout.wake)
    return to_wire(await datasets.copy(call.scope, dataset_id, name=body.name, memo=body.memo))


@routes.get("/datasets/{dataset_id}/files", permission=Permission.DATASET_READ)
async def list_dataset_files(
    call: Caller,
    dataset_id: DatasetId,
    datasets: Service,
    version: Annotated[int | None, Query(ge=1, le=2**31)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schema.Page[schema.DatasetFile]:
    """List where each file lies under `/kqi/input`."""
    found = await datasets.version(call.scope, dataset_id, version)
    return paging.page(
        await store.files_page(call.scope, found, after=paging.text_after(cursor), limit=limit + 1),
        limit,
        lambda file: file.path,
        lambda file: schema.DatasetFile(path=file.path, data=file.data, size=file.size, sha256=file.sha256),
    )


@routes.get("/data-types", permission=Permission.DATASET_READ)
async def get_data_types(call: CollectionCaller, datasets: Service) -> schema.DataTypes:
    return schema.DataTypes(names=await datasets.data_types(call.collection))


@routes.put("/data-types", permission=Permission.TENANT_MANAGE)
async def set_data_types(call: CollectionCaller, body: schema.DataTypes, datasets: Service) -> schema.DataTypes:
    return schema.DataTypes(names=await datasets.set_data_types(call.collection, body.names))


def to_wire(dataset: Dataset) -> schema.Dataset:
    return schema.Dataset(
        id=dataset.id,
        tenant=dataset.tenant,
        name=dataset.name,
        memo=dataset.memo,
        flat=dataset.flat,
        frozen=dataset.version.frozen,
        version=version_to_wire(dataset.version),
        created_by=dataset.created_by,
        created_at=dataset.created_at,
        changed_at=dataset.changed_at,
    )


def version_to_wire(version: Version) -> schema.DatasetVersion:
    held = {split: list(ids) for split, ids in version.entries.items()}
    return schema.DatasetVersion(
        number=version.number,
        entries=schema.Entries(flat=held[FLAT]) if version.flat else schema.Entries(splits=held),
        files=version.files,
        bytes=version.size,
        state=version.state.value,
        message=version.message,
        frozen=version.frozen,
        created_at=version.created_at,
    )


def _entries(body: schema.Entries) -> Entries:
    if (body.flat is None) == (body.splits is None):
        raise Invalid("entries_one_of")
    return {FLAT: body.flat} if body.flat is not None else dict(body.splits or {})
