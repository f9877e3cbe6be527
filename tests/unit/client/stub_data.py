"""Routes of the stub: accounts, uploads, data and datasets."""

import hashlib
import io
import tarfile
from typing import Any

from fastapi import FastAPI, Request, Response

from kqi import schema

from .stub_state import API, NOW, TOKEN, Refused, Stub, once, page, ranged, zipped


def accounts(api: FastAPI, stub: Stub) -> None:  # noqa: C901 - a table of routes
    @api.get(f"{API}/version")
    def version() -> Any:
        return schema.Version(version="9.9.9")

    @api.get(f"{API}/me")
    def me() -> Any:
        tenant = schema.Tenant(name="default", display_name="Default")
        return schema.Person(
            id=1, name="hanako", display_name="花子", administrator=False, language="ja",
            default_tenant="default", tenants=[tenant],
        )  # fmt: skip

    @api.get(f"{API}/tokens")
    def tokens(limit: int = 50, cursor: str | None = None) -> Any:
        return page(list(stub.tokens.values()), limit, cursor)

    def new_token(name: str) -> schema.NewToken:
        info = schema.Token(id=len(stub.tokens) + 1, name=name, created_at=NOW, expires_at=NOW, last_used_at=None)
        stub.tokens[info.id] = info
        return schema.NewToken(token=TOKEN, info=info)

    @api.post(f"{API}/tokens", status_code=201)
    def create_token(body: schema.CreateToken, request: Request) -> Any:
        return once(stub, request, lambda: new_token(body.name))

    @api.delete(f"{API}/tokens/{{token_id}}", status_code=204)
    def revoke(token_id: int) -> None:
        if stub.tokens.pop(token_id, None) is None:
            raise Refused(404, "token_not_found")

    @api.post(f"{API}/device")
    def device() -> Any:
        stub.devices["d1"] = 0
        return schema.Device(
            device_code="d1", user_code="ABCD-EFGH", verification_uri=f"{stub.url}/services/kqi/device",
            verification_uri_complete=f"{stub.url}/services/kqi/device?code=ABCD-EFGH", expires_in=600, interval=0,
        )  # fmt: skip

    @api.post(f"{API}/device/token")
    def redeem(body: schema.RedeemDevice) -> Any:
        stub.devices[body.device_code] += 1
        if stub.devices[body.device_code] < 3:
            raise Refused(400, "authorization_pending")
        return new_token("kqi")

    @api.post("/hub/kqi/token")
    def password(body: schema.Password) -> Any:
        if body.password != "correct horse":
            raise Refused(401, "sign_in_failed", "Name or password is wrong.")
        return new_token(body.name)

    @api.get(f"{API}/capacity")
    def capacity() -> Any:
        return schema.Capacity(
            cpu_total=8, cpu_free=6, memory_gb_total=32, memory_gb_free=30,
            gpus=[schema.GpuFree(kind="A100", total=2, free=1)], queued=0,
        )  # fmt: skip


def store(api: FastAPI, stub: Stub) -> None:  # noqa: C901 - a table of routes
    @api.post(f"{API}/blobs/find")
    def find(body: schema.FindBlobs) -> Any:
        return schema.Blobs(sha256=[digest for digest in body.sha256 if digest in stub.blobs])

    @api.post(f"{API}/uploads/batch")
    async def batch(request: Request) -> Any:
        body = await request.body()
        stored = []
        size = 0
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member).read()  # type: ignore[union-attr]
                size += len(content)
                digest = hashlib.sha256(content).hexdigest()
                stub.blobs[digest] = content
                stored.append(schema.StoredFile(path=member.name, sha256=digest, size=len(content)))
        if len(stored) > schema.BATCH_FILES or size > schema.BATCH_BYTES:
            raise Refused(413, "batch_too_large")
        return schema.Stored(files=stored)

    def wire(upload: dict[str, Any]) -> schema.Upload:
        return schema.Upload(**{**upload, "parts": sorted(upload["parts"])})

    @api.post(f"{API}/uploads")
    def start(body: schema.StartUpload) -> Any:
        same = (item for item in stub.uploads.values() if item["sha256"] == body.sha256)
        found = next((item for item in same if item["part_size"] == body.part_size), None)
        if found is None:
            found = {"id": f"u{len(stub.uploads)}", "parts": {}, "complete": False, **body.model_dump()}
            stub.uploads[found["id"]] = found
        return wire(found)

    @api.put(f"{API}/uploads/{{upload_id}}/parts/{{number}}", status_code=204)
    async def part(upload_id: str, number: int, request: Request) -> None:
        body = await request.body()
        upload = stub.uploads[upload_id]
        expected = min(upload["part_size"], upload["size"] - number * upload["part_size"])
        if len(body) != expected or hashlib.sha256(body).hexdigest() != request.headers["x-part-sha256"]:
            raise Refused(422, "part_damaged")
        upload["parts"][number] = body

    @api.post(f"{API}/uploads/{{upload_id}}/complete")
    def complete(upload_id: str) -> Any:
        upload = stub.uploads[upload_id]
        content = b"".join(upload["parts"][number] for number in sorted(upload["parts"]))
        if hashlib.sha256(content).hexdigest() != upload["sha256"]:
            raise Refused(409, "upload_wrong_hash")
        stub.blobs[upload["sha256"]] = content
        upload["complete"] = True
        return wire(upload)


def _refresh(stub: Stub, data_id: int, **changes: Any) -> schema.Data:
    files = stub.files[data_id]
    size = sum(len(stub.blobs[digest]) for digest in files.values())
    stub.data[data_id] = stub.data[data_id].model_copy(update={"files": len(files), "bytes": size, **changes})
    return stub.data[data_id]


def _take(stub: Stub, data_id: int, files: list[schema.NewFile]) -> None:
    if any(file.sha256 not in stub.blobs for file in files):
        raise Refused(409, "blob_missing")
    stub.files[data_id].update({file.path: file.sha256 for file in files})


def find_data(stub: Stub, data_id: int) -> schema.Data:
    if data_id not in stub.data:
        raise Refused(404, "data_not_found", f"Data {data_id} is not there.")
    return stub.data[data_id]


def data(api: FastAPI, stub: Stub) -> None:  # noqa: C901 - a table of routes
    @api.post(f"{API}/data", status_code=201)
    def create(body: schema.CreateData, request: Request, tenant: str = "default") -> Any:
        def make() -> schema.Data:
            data_id = len(stub.data) + 1
            stub.files[data_id] = {}
            _take(stub, data_id, body.files)
            stub.data[data_id] = schema.Data(
                id=data_id, tenant=tenant, name=body.name, memo=body.memo, tags=body.tags, files=0, bytes=0,
                frozen=False, created_by="hanako", created_at=NOW, changed_at=NOW,
            )  # fmt: skip
            if body.more:
                stub.drafts.add(data_id)
            return _refresh(stub, data_id)

        return once(stub, request, make)

    @api.get(f"{API}/data")
    def index(q: str = "", tag: str | None = None, limit: int = 50, cursor: str | None = None) -> Any:
        seen = [item for number, item in stub.data.items() if number not in stub.drafts]
        found = [item for item in seen if q in item.name and (tag is None or tag in item.tags)]
        return page(found[::-1], limit, cursor)

    @api.get(f"{API}/tags")
    def tags() -> Any:
        return page(sorted({tag for item in stub.data.values() for tag in item.tags}))

    @api.get(f"{API}/data/{{data_id}}")
    def get(data_id: int) -> Any:
        return find_data(stub, -1 if data_id in stub.drafts else data_id)

    @api.patch(f"{API}/data/{{data_id}}")
    def edit(data_id: int, body: schema.ChangeData) -> Any:
        find_data(stub, data_id)
        return _refresh(stub, data_id, **body.model_dump(exclude_none=True))

    @api.delete(f"{API}/data/{{data_id}}", status_code=204)
    def delete(data_id: int) -> None:
        if find_data(stub, data_id).frozen:
            raise Refused(409, "data_frozen", "It is in use.")
        del stub.data[data_id]

    @api.get(f"{API}/data/{{data_id}}/files")
    def files(data_id: int, prefix: str = "", limit: int = 50, cursor: str | None = None) -> Any:
        find_data(stub, data_id)
        found = [
            schema.File(path=path, size=len(stub.blobs[digest]), sha256=digest, media_type="text/plain")
            for path, digest in sorted(stub.files[data_id].items())
            if path.startswith(prefix)
        ]
        return page(found, limit, cursor)

    @api.post(f"{API}/data/{{data_id}}/files")
    def add(data_id: int, body: schema.AddFiles) -> Any:
        _take(stub, find_data(stub, data_id).id, body.files)
        if not body.more:
            stub.drafts.discard(data_id)
        return _refresh(stub, data_id)

    @api.post(f"{API}/data/{{data_id}}/files/remove")
    def remove(data_id: int, body: schema.RemoveFiles) -> Any:
        find_data(stub, data_id)
        for path in body.paths:
            if stub.files[data_id].pop(path, None) is None:
                raise Refused(404, "file_not_found")
        return _refresh(stub, data_id)

    @api.get(f"{API}/data/{{data_id}}/content/{{path:path}}")
    def content(data_id: int, path: str, request: Request) -> Response:
        digest = stub.files[find_data(stub, data_id).id].get(path)
        if digest is None:
            raise Refused(404, "file_not_found")
        return ranged(request, stub.blobs[digest], f'"{digest}"')

    @api.get(f"{API}/data/{{data_id}}/archive.zip")
    def archive(data_id: int) -> Response:
        return zipped({path: stub.blobs[digest] for path, digest in stub.files[data_id].items()})


def datasets(api: FastAPI, stub: Stub) -> None:  # noqa: C901 - a table of routes
    def version(number: int, entries: schema.Entries) -> schema.DatasetVersion:
        if (entries.splits is None) == (entries.flat is None):
            raise Refused(422, "entries_not_valid", "splits or flat")
        return schema.DatasetVersion(
            number=number, entries=entries, files=0, bytes=0, state="ready", message="", frozen=False, created_at=NOW
        )

    def find(dataset_id: int) -> list[schema.Dataset]:
        if dataset_id not in stub.datasets:
            raise Refused(404, "dataset_not_found", f"Dataset {dataset_id} is not there.")
        return stub.datasets[dataset_id]

    def make(name: str, memo: str, entries: schema.Entries) -> schema.Dataset:
        dataset_id = len(stub.datasets) + 1
        made = schema.Dataset(
            id=dataset_id, tenant="default", name=name, memo=memo, flat=entries.flat is not None, frozen=False,
            version=version(1, entries), created_by="hanako", created_at=NOW, changed_at=NOW,
        )  # fmt: skip
        stub.datasets[dataset_id] = [made]
        return made

    @api.post(f"{API}/datasets", status_code=201)
    def create(body: schema.CreateDataset, request: Request) -> Any:
        return once(stub, request, lambda: make(body.name, body.memo, body.entries))

    @api.get(f"{API}/datasets")
    def index(q: str = "", limit: int = 50, cursor: str | None = None) -> Any:
        return page([item[-1] for item in stub.datasets.values() if q in item[-1].name][::-1], limit, cursor)

    @api.get(f"{API}/datasets/{{dataset_id}}")
    def get(dataset_id: int) -> Any:
        return find(dataset_id)[-1]

    @api.patch(f"{API}/datasets/{{dataset_id}}")
    def edit(dataset_id: int, body: schema.ChangeDataset) -> Any:
        find(dataset_id)[-1] = find(dataset_id)[-1].model_copy(update=body.model_dump(exclude_none=True))
        return find(dataset_id)[-1]

    @api.delete(f"{API}/datasets/{{dataset_id}}", status_code=204)
    def delete(dataset_id: int) -> None:
        find(dataset_id)
        del stub.datasets[dataset_id]

    @api.put(f"{API}/datasets/{{dataset_id}}/entries")
    def replace(dataset_id: int, body: schema.Entries) -> Any:
        now = find(dataset_id)[-1]
        find(dataset_id)[-1] = now.model_copy(update={"version": version(now.version.number, body)})
        return find(dataset_id)[-1]

    @api.post(f"{API}/datasets/{{dataset_id}}/versions", status_code=201)
    def add(dataset_id: int, body: schema.Entries) -> Any:
        now = find(dataset_id)[-1]
        find(dataset_id).append(now.model_copy(update={"version": version(now.version.number + 1, body)}))
        return find(dataset_id)[-1]

    @api.get(f"{API}/datasets/{{dataset_id}}/versions")
    def versions(dataset_id: int, limit: int = 50, cursor: str | None = None) -> Any:
        return page([item.version for item in find(dataset_id)], limit, cursor)

    @api.post(f"{API}/datasets/{{dataset_id}}/copy", status_code=201)
    def copy(dataset_id: int, body: schema.CopyDataset, request: Request) -> Any:
        now = find(dataset_id)[-1]
        return once(stub, request, lambda: make(body.name, body.memo or now.memo, now.version.entries))

    @api.get(f"{API}/datasets/{{dataset_id}}/files")
    def files(dataset_id: int, version: int | None = None, limit: int = 50, cursor: str | None = None) -> Any:
        chosen = next(item.version for item in find(dataset_id)[::-1] if version in {None, item.version.number})
        splits = chosen.entries.splits or {"": chosen.entries.flat or []}
        found = [
            schema.DatasetFile(
                path=f"{split}/{data}/{path}".lstrip("/"), data=data, size=len(stub.blobs[digest]), sha256=digest
            )
            for split, ids in splits.items()
            for data in ids
            for path, digest in stub.files[data].items()
        ]
        return page(sorted(found, key=lambda file: file.path), limit, cursor)

    @api.get(f"{API}/data-types")
    def types() -> Any:
        return schema.DataTypes(names=stub.types)

    @api.put(f"{API}/data-types")
    def set_types(body: schema.DataTypes) -> Any:
        stub.types = body.names
        return body
