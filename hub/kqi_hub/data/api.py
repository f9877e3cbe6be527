"""Routes of data and uploads."""

from collections.abc import Callable
from typing import Annotated, BinaryIO

from fastapi import Header, Path, Query
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from kqi import schema
from kqi_hub.data import model, store
from kqi_hub.data.service import DataService, New
from kqi_hub.data.store import UploadRow
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Conflict, Invalid
from kqi_hub.i18n import Fault
from kqi_hub.identity.policy import Permission
from kqi_hub.web import files as answers
from kqi_hub.web import paging
from kqi_hub.web.call import Caller, CollectionCaller, ListCaller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes

routes = Routes("data")
Service = Annotated[DataService, feature(DataService)]
DataId = Annotated[int, Path(ge=1, le=2**53 - 1)]
_PATH: TypeAdapter[str] = TypeAdapter(schema.FilePath)
_PREVIEW_BYTES = 2**20
_OCTETS = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@routes.post("/blobs/find", permission=Permission.DATA_WRITE)
async def find_blobs(call: CollectionCaller, body: schema.FindBlobs, data: Service) -> schema.Blobs:
    """Say which contents need not be sent."""
    known = await store.known_sizes(call.collection, body.sha256)
    await store.stage_again(call.collection, list(known))
    return schema.Blobs(sha256=sorted(known))


@routes.post("/uploads/batch", permission=Permission.DATA_WRITE, openapi_extra=_OCTETS)
async def upload_batch(call: CollectionCaller, data: Service) -> schema.Stored:
    """Store many small files: the body is an uncompressed tar."""
    call.person.choose(call.permission, call.tenant)
    stored = await data.uploads.receive(
        call.request.stream(), files=schema.BATCH_FILES, size=schema.BATCH_BYTES, check=_check_path
    )
    await store.stage(call.collection, {file.sha256: file.size for file in stored})
    return schema.Stored(files=[schema.StoredFile(path=f.path, sha256=f.sha256, size=f.size) for f in stored])


@routes.post("/uploads", permission=Permission.DATA_WRITE)
async def start_upload(call: CollectionCaller, body: schema.StartUpload, data: Service) -> schema.Upload:
    """Begin, or go on with, a large file."""
    row = await data.uploads.start(call.collection, body.sha256, body.size, body.part_size)
    return await _upload(call.collection, row, data)


@routes.get("/uploads/{upload}", permission=Permission.DATA_WRITE)
async def get_upload(call: Caller, upload: str, data: Service) -> schema.Upload:
    return await _upload(call.scope, await data.uploads.find(call.scope, upload), data)


@routes.put("/uploads/{upload}/parts/{number}", permission=Permission.DATA_WRITE, status=204, openapi_extra=_OCTETS)
async def put_part(
    call: Caller,
    upload: str,
    number: Annotated[int, Path(ge=0, le=100_000)],
    x_part_sha256: Annotated[str, Header(pattern="^[0-9a-f]{64}$")],
    data: Service,
) -> None:
    async with call.platform.database.read() as session:
        row = await data.uploads.find(call.reading(session), upload)
    await data.uploads.write(row, number, x_part_sha256, call.request.stream())
    await data.uploads.received(call.scope, upload, number)


@routes.post("/uploads/{upload}/complete", permission=Permission.DATA_WRITE)
async def complete_upload(call: Caller, upload: str, data: Service) -> schema.Upload:
    """Check the whole file's hash and keep it."""
    async with call.platform.database.read() as session:
        row = await data.uploads.find(call.reading(session), upload)
        parts = await data.uploads.parts(call.reading(session), upload)
    if not row.complete:
        try:
            await data.uploads.assemble(row, parts)
        except Conflict as error:
            if error.code == "upload_wrong_hash":
                await _forget_parts(call, upload, data)
            raise
        row = await data.uploads.completed(call.scope, upload)
    return await _upload(call.scope, row, data)


@routes.post("/data", permission=Permission.DATA_WRITE, status=201)
async def create_data(call: CollectionCaller, body: schema.CreateData, data: Service) -> schema.Data:
    asked = New(name=body.name, memo=body.memo, tags=body.tags, draft=body.more)
    return to_wire(await data.create(call.collection, asked, _pairs(body.files)))


@routes.get("/data", permission=Permission.DATA_READ)
async def list_data(
    call: ListCaller,
    data: Service,
    search: Annotated[store.Search, Query()],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> schema.Page[schema.Data]:
    """List newest first; `q` is looked for in name and memo."""
    before = paging.number_after(cursor)
    ids = await store.page(call.listed, search, before=before, limit=limit + 1)
    found = {item.id: item for item in await data.several(call.listed, ids[:limit])}
    return paging.page(ids, limit, lambda key: key, lambda key: to_wire(found[key]))


@routes.get("/tags", permission=Permission.DATA_READ)
async def list_tags(call: CollectionCaller) -> schema.Page[str]:
    return schema.Page(items=list(await store.all_tags(call.collection)))


@routes.get("/data/{data_id}", permission=Permission.DATA_READ)
async def get_data(call: Caller, data_id: DataId, data: Service) -> schema.Data:
    return to_wire(await data.get(call.scope, data_id))


@routes.patch("/data/{data_id}", permission=Permission.DATA_WRITE)
async def change_data(call: Caller, data_id: DataId, body: schema.ChangeData, data: Service) -> schema.Data:
    return to_wire(await data.change(call.scope, data_id, name=body.name, memo=body.memo, tags=body.tags))


@routes.delete("/data/{data_id}", permission=Permission.DATA_WRITE)
async def delete_data(call: Caller, data_id: DataId, data: Service) -> None:
    await data.delete(call.scope, data_id)


@routes.get("/data/{data_id}/files", permission=Permission.DATA_READ)
async def list_files(
    call: Caller,
    data_id: DataId,
    prefix: Annotated[str, Query(max_length=2048)] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schema.Page[schema.File]:
    await store.row(call.scope, data_id)
    after = paging.text_after(cursor)
    found = await store.files(call.scope, data_id, prefix=prefix, after=after, limit=limit + 1)
    return paging.page(found, limit, lambda file: file.path, _file)


@routes.post("/data/{data_id}/files", permission=Permission.DATA_WRITE)
async def add_files(call: Caller, data_id: DataId, body: schema.AddFiles, data: Service) -> schema.Data:
    call.after.append(data.wake)
    made = await data.add_files(call.scope, data_id, _pairs(body.files))
    return to_wire(made if body.more else await data.finish(call.scope, data_id))


@routes.post("/data/{data_id}/files/remove", permission=Permission.DATA_WRITE)
async def remove_files(call: Caller, data_id: DataId, body: schema.RemoveFiles, data: Service) -> schema.Data:
    call.after.append(data.wake)
    return to_wire(await data.remove_files(call.scope, data_id, body.paths))


@routes.get("/data/{data_id}/content/{path:path}", permission=Permission.DATA_READ, response_class=Response)
async def get_content(call: Caller, data_id: DataId, path: str, data: Service) -> Response:
    """Download one file; ranges are answered."""
    found = await store.file(call.scope, data_id, path)
    content = answers.Content(
        file=data.uploads.blobs.open(found.sha256),
        name=path.rsplit("/", 1)[-1],
        media_type=model.media_type(path),
        etag=found.sha256,
    )
    return answers.respond(call.request, content)


@routes.get("/data/{data_id}/preview/{path:path}", permission=Permission.DATA_READ, response_class=Response)
async def preview(call: Caller, data_id: DataId, path: str, data: Service) -> Response:
    """Show a picture, or the beginning of a text, in a page that can run nothing."""
    found = await store.file(call.scope, data_id, path)
    shown_as = model.preview_type(path)
    if shown_as is None:
        raise Invalid("no_preview", path=path)
    file = data.uploads.blobs.open(found.sha256)
    if shown_as.startswith("text/"):
        with file:
            return Response(file.read(_PREVIEW_BYTES), media_type=shown_as, headers=answers.SANDBOX)
    content = answers.Content(file=file, name=path, media_type=shown_as, etag=found.sha256, inline=True)
    return answers.respond(call.request, content)


@routes.get("/data/{data_id}/archive.zip", permission=Permission.DATA_READ, response_class=Response)
async def get_archive(call: Caller, data_id: DataId, data: Service) -> Response:
    """Download all files as one zip."""
    await store.row(call.scope, data_id)
    found = await store.files(call.scope, data_id)
    return answers.zipped(f"data-{data_id}.zip", [(file.path, _opener(data, file.sha256)) for file in found])


def to_wire(data: model.Data) -> schema.Data:
    return schema.Data(
        id=data.id,
        tenant=data.tenant,
        name=data.name,
        memo=data.memo,
        tags=list(data.tags),
        files=data.files,
        bytes=data.size,
        frozen=data.frozen,
        created_by=data.created_by,
        created_at=data.created_at,
        changed_at=data.changed_at,
    )


def _file(file: model.File) -> schema.File:
    return schema.File(path=file.path, size=file.size, sha256=file.sha256, media_type=model.media_type(file.path))


def _pairs(files: list[schema.NewFile]) -> list[tuple[str, str]]:
    return [(file.path, file.sha256) for file in files]


def _opener(data: DataService, sha256: str) -> Callable[[], BinaryIO]:
    return lambda: data.uploads.blobs.open(sha256)


def _check_path(path: str) -> None:
    try:
        _PATH.validate_python(path)
    except ValidationError as error:
        shown = path.encode("utf-8", "replace").decode()[:200]
        raise Invalid("file_path_not_valid", path=shown, message=Fault(error.errors()[0])) from error


async def _upload(scope: TenantScope, row: UploadRow, data: DataService) -> schema.Upload:
    return schema.Upload(
        id=row.id,
        size=row.size,
        sha256=row.sha256,
        part_size=row.part_size,
        parts=await data.uploads.parts(scope, row.id),
        complete=row.complete,
    )


async def _forget_parts(call: Caller, upload: str, data: DataService) -> None:
    async with call.platform.database.write() as session:
        await data.uploads.reset(call.reading(session), upload)
