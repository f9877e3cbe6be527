"""Routes that look into a run's folders: log, output and attachments."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO

from fastapi import Query
from fastapi.responses import Response, StreamingResponse

from kqi import schema
from kqi_hub.audit.log import record
from kqi_hub.data.model import media_type
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity.policy import Permission
from kqi_hub.runs import collect, store
from kqi_hub.runs.api import PLURAL, Feature, Number, Runs
from kqi_hub.runs.model import Kind, Run
from kqi_hub.storage import beneath
from kqi_hub.storage.store import answering_disk_errors
from kqi_hub.web import files as answers
from kqi_hub.web import paging
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.status import Phase as Seen

_MAX_ATTACHMENT = 2 * 2**30
_OCTETS = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
Folder = Annotated[str, Query(max_length=4096)]
Backend = Annotated[ExecutionBackend, feature(ExecutionBackend)]


def register(routes: Routes, kind: Kind) -> None:
    base = f"/{PLURAL[kind]}/{{number}}"
    _register_log(routes, kind, base)
    _register_outputs(routes, kind, base)
    _register_attachments(routes, kind, base)


def _register_log(routes: Routes, kind: Kind, base: str) -> None:
    async def get_log(
        call: Caller,
        number: Number,
        runs: Feature,
        backend: Backend,
        follow: bool = False,
        offset: Annotated[int, Query(ge=0, le=2**60)] = 0,
    ) -> Response:
        """Get the log from byte `offset`; with `follow` go on until the run has ended."""
        run = await store.one(call.scope, kind, number)
        chunks = _follow(call, runs, backend, run) if follow and not run.phase.ended else _written(runs, run)
        return StreamingResponse(_from(chunks, offset), media_type="text/plain; charset=utf-8", headers=answers.SANDBOX)

    get_log.__name__ = f"get_{kind.value}_log"
    routes.get(f"{base}/log", permission=Permission.RUN_READ, response_class=Response)(get_log)


def _register_outputs(routes: Routes, kind: Kind, base: str) -> None:
    async def list_outputs(
        call: Caller, number: Number, runs: Feature, path: Folder = "", limit: Limit = 100, cursor: Cursor = None
    ) -> schema.Page[schema.OutputEntry]:
        """List a folder of the output, also while the run is at work."""
        run = await store.one(call.scope, kind, number)
        after = paging.text_after(cursor)
        root = runs.files.path(run.folder / "output")
        found = await asyncio.to_thread(beneath.entries, root, path) if root.exists() or path else []
        left = [entry for entry in found if after is None or entry.name.encode() > after.encode()]
        return paging.page(left[: limit + 1], limit, lambda entry: entry.name, _entry)

    async def get_output(call: Caller, number: Number, path: str, runs: Feature) -> Response:
        run = await store.one(call.scope, kind, number)
        file = beneath.open_file(runs.files.path(run.folder / "output"), path)
        return answers.respond(call.request, _content(file, path.rsplit("/", 1)[-1]))

    async def get_outputs_zip(call: Caller, number: Number, runs: Feature, path: Folder = "") -> Response:
        """Download the output, or a folder of it, as a zip."""
        run = await store.one(call.scope, kind, number)
        files = await asyncio.to_thread(lambda: list(collect.outputs(runs.files, run, path)))
        return answers.zipped(f"{run.workload}-output.zip", files)

    list_outputs.__name__ = f"list_{kind.value}_outputs"
    get_output.__name__ = f"get_{kind.value}_output"
    get_outputs_zip.__name__ = f"get_{kind.value}_outputs_zip"
    read = Permission.RUN_READ
    routes.get(f"{base}/outputs", permission=read)(list_outputs)
    routes.get(f"{base}/outputs/content/{{path:path}}", permission=read, response_class=Response)(get_output)
    routes.get(f"{base}/outputs.zip", permission=read, response_class=Response)(get_outputs_zip)


def _register_attachments(routes: Routes, kind: Kind, base: str) -> None:
    async def list_attachments(call: Caller, number: Number, runs: Feature) -> schema.Page[schema.Attachment]:
        run = await store.one(call.scope, kind, number)
        root = runs.files.path(run.folder / "attach")
        found = await asyncio.to_thread(beneath.entries, root, "") if root.exists() else []
        shown = [
            schema.Attachment(name=entry.name, size=entry.size, locked=_locked(run, entry.name))
            for entry in found
            if entry.size is not None and not beneath.unfinished(entry.name)
        ]
        return schema.Page(items=shown)

    async def get_attachment(call: Caller, number: Number, name: str, runs: Feature) -> Response:
        run = await store.one(call.scope, kind, number)
        file = beneath.open_file(runs.files.path(run.folder / "attach"), _finished(name))
        return answers.respond(call.request, _content(file, name))

    async def put_attachment(call: Caller, number: Number, name: str, runs: Feature) -> None:
        """Attach a file, also while the run is at work; one of that name is replaced."""
        async with call.platform.database.read() as session:
            await store.check_change(call.reading(session), kind, number)
            run = await store.one(call.reading(session), kind, number)
        _check_unlocked(run, _plain(name))
        root = runs.files.folder(run.folder / "attach")
        with answering_disk_errors(), beneath.replacing(root, name, owner=runs.files.owner) as file:
            async for chunk in call.request.stream():
                if file.tell() + len(chunk) > _MAX_ATTACHMENT:
                    raise Invalid("attachment_too_large", bytes=_MAX_ATTACHMENT)
                file.write(chunk)
            await asyncio.to_thread(beneath.flush, file)
        await record(call.scope, run.tenant_id, "run.attach", f"{kind.value}/{number}", name=name)

    async def delete_attachment(call: Caller, number: Number, name: str, runs: Feature) -> None:
        await store.check_change(call.scope, kind, number)
        run = await store.one(call.scope, kind, number)
        _check_unlocked(run, _finished(name))
        beneath.remove_file(runs.files.path(run.folder / "attach"), name)
        await record(call.scope, run.tenant_id, "run.detach", f"{kind.value}/{number}", name=name)

    for handler in (list_attachments, get_attachment, put_attachment, delete_attachment):
        handler.__name__ = handler.__name__.replace("attachment", f"{kind.value}_attachment")
    place = f"{base}/attachments"
    routes.get(place, permission=Permission.RUN_READ)(list_attachments)
    routes.get(f"{place}/{{name}}", permission=Permission.RUN_READ, response_class=Response)(get_attachment)
    routes.put(f"{place}/{{name}}", permission=Permission.RUN_CONTROL, status=204, openapi_extra=_OCTETS)(
        put_attachment
    )
    routes.delete(f"{place}/{{name}}", permission=Permission.RUN_CONTROL)(delete_attachment)


async def _follow(call: Call, runs: Runs, backend: ExecutionBackend, run: Run) -> AsyncIterator[bytes]:
    """Yield the log as it is written; while the run is queued, wait for it to begin."""
    while run.phase in {schema.Phase.QUEUED, schema.Phase.PREPARING}:
        seen = await backend.observe([run.workload])
        if seen[run.workload].phase is not Seen.ABSENT:
            break
        await runs.changes.wait(run.key, 2.0)
        async with call.platform.database.read() as session:
            try:
                run = await store.one(call.reading(session), run.kind, run.number)
            except NotFound:
                return
    if run.phase.ended:
        async for chunk in _written(runs, run):
            yield chunk
        return
    async for chunk in backend.logs(run.workload, follow=True):
        yield chunk


async def _written(runs: Runs, run: Run) -> AsyncIterator[bytes]:
    try:
        file = beneath.open_file(runs.files.path(run.folder / "attach"), run.log_name)
    except NotFound:
        return
    with file:
        while chunk := await asyncio.to_thread(file.read, 2**18):
            yield chunk


async def _from(chunks: AsyncIterator[bytes], offset: int) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if offset >= len(chunk):
            offset -= len(chunk)
            continue
        yield chunk[offset:]
        offset = 0


def _content(file: BinaryIO, name: str) -> answers.Content:
    return answers.Content(file=file, name=name, media_type=media_type(name), etag=answers.version(file))


def _entry(entry: beneath.Found) -> schema.OutputEntry:
    return schema.OutputEntry(name=entry.name, folder=entry.folder, size=entry.size, changed_at=entry.changed_at)


def _locked(run: Run, name: str) -> bool:
    return name in {run.log_name, collect.ZIP_NAME}


def _plain(name: str) -> str:
    if len(name.encode("utf-8", "surrogatepass")) > 200 or name.startswith(".") or any(char < " " for char in name):
        raise Invalid("attachment_name_not_valid")
    return name


def _finished(name: str) -> str:
    """Runs name files as they like; only what is still being written is nobody's yet."""
    if beneath.unfinished(name):
        raise NotFound("file", name)
    return name


def _check_unlocked(run: Run, name: str) -> None:
    if _locked(run, name):
        raise Conflict("attachment_locked", name=name)


routes = (Routes("trainings"), Routes("notebooks"))
register(routes[0], Kind.TRAINING)
register(routes[1], Kind.NOTEBOOK)
