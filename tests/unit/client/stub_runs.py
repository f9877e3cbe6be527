"""Routes of the stub: trainings and notebooks."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from kqi import schema

from .stub_state import API, NOW, Refused, Stub, once, page, ranged, zipped


def _new_run(stub: Stub, kind: str, body: Any) -> schema.Run:
    run_id = len(stub.runs) + 1
    command = getattr(body, "command", "")
    held = command == "hold" or kind == "notebook"
    code = int(command.split()[-1]) if command.startswith("exit ") else 0
    source = getattr(body, "source", None)
    if isinstance(source, schema.Archive) and source.sha256 not in stub.blobs:
        raise Refused(409, "blob_missing")
    resolved = source and schema.ResolvedSource(
        kind=source.kind, rule="archive" if source.kind == "archive" else "branch", url=getattr(source, "url", "")
    )
    phase = schema.Phase.RUNNING if held else schema.Phase.FAILED if code else schema.Phase.COMPLETED
    stub.logs[run_id] = b"" if held else f"epoch 1\n損失 0.5\n{command}\n".encode()
    stub.outputs[run_id] = {} if held else {"model.bin": b"weights" * 1000, "sub/metrics.json": b"{}"}
    stub.attachments[run_id] = {}
    stub.runs[run_id] = schema.Run(
        id=run_id, kind=kind, tenant="default", title=body.title or "untitled", name=body.name or "untitled",
        phase=phase, reason=None, message="", queue=None, command=command, source=resolved, dataset=body.dataset,
        parents=body.parents or [], image=body.image, environment=body.environment or {},
        resources=body.resources or schema.AskedResources(), gpu_indexes=[], zip=getattr(body, "zip", False),
        stop_at_first_failure=getattr(body, "stop_at_first_failure", False),
        local_dataset=getattr(body, "local_dataset", False), grace_s=30, memo=getattr(body, "memo", ""),
        tags=getattr(body, "tags", []), favorite=False, exit_code=None if held else code,
        url=f"/user/hanako/{run_id}/lab" if kind == "notebook" else None, created_by="hanako", created_at=NOW,
        started_at=NOW, finished_at=None if held else NOW,
    )  # fmt: skip
    return stub.runs[run_id]


def find_run(stub: Stub, run_id: int, kind: str) -> schema.Run:
    run = stub.runs.get(run_id)
    if run is None or run.kind != kind:
        raise Refused(404, f"{kind}_not_found", f"{kind} {run_id} is not there.")
    return run


def runs(api: FastAPI, stub: Stub, kind: str) -> None:  # noqa: C901 - a table of routes
    root = f"{API}/{kind}s"

    def create(body: Any, request: Request) -> Any:
        return once(stub, request, lambda: _new_run(stub, kind, body))

    if kind == "training":

        @api.post(root, status_code=201)
        def create_training(body: schema.CreateTraining, request: Request) -> Any:
            return create(body, request)

        @api.post(f"{root}/{{run_id}}/copy", status_code=201)
        def copy(run_id: int, body: schema.CopyTraining, request: Request) -> Any:
            old = find_run(stub, run_id, kind)
            changed = old.model_copy(update=body.model_dump(exclude_none=True, exclude={"source"}))
            return once(stub, request, lambda: _new_run(stub, kind, changed.model_copy(update={"source": body.source})))
    else:

        @api.post(root, status_code=201)
        def create_notebook(body: schema.CreateNotebook, request: Request) -> Any:
            return create(body, request)

        @api.post(f"{root}/{{run_id}}/start")
        def start(run_id: int) -> Any:
            run = find_run(stub, run_id, kind)
            stub.runs[run_id] = run.model_copy(update={"phase": schema.Phase.RUNNING, "finished_at": None})
            return stub.runs[run_id]

    @api.get(root)
    def index(q: str = "", phase: str | None = None, limit: int = 50, cursor: str | None = None) -> Any:
        runs = [run for run in stub.runs.values() if run.kind == kind and q in run.title and phase in {None, run.phase}]
        return page(runs[::-1], limit, cursor)

    @api.get(f"{root}/{{run_id}}")
    async def get(run_id: int, wait_s: float = 0, unless: str | None = None) -> Any:
        assert stub.changed
        find_run(stub, run_id, kind)
        async with stub.changed:
            await asyncio.wait_for(stub.changed.wait_for(lambda: stub.runs[run_id].phase != unless), wait_s or None)
        return find_run(stub, run_id, kind)

    @api.patch(f"{root}/{{run_id}}")
    def edit(run_id: int, body: schema.ChangeRun) -> Any:
        stub.runs[run_id] = find_run(stub, run_id, kind).model_copy(update=body.model_dump(exclude_none=True))
        return stub.runs[run_id]

    @api.delete(f"{root}/{{run_id}}", status_code=204)
    def delete(run_id: int) -> None:
        if not find_run(stub, run_id, kind).phase.ended:
            raise Refused(409, "run_active", "It has not ended.")
        del stub.runs[run_id]

    @api.post(f"{root}/{{run_id}}/stop")
    async def stop(run_id: int, body: schema.StopRun) -> Any:
        find_run(stub, run_id, kind)
        ended = schema.Phase.KILLED if body.mode is schema.StopMode.KILL else schema.Phase.CANCELED
        await stub._finish(run_id, ended, b"")
        return stub.runs[run_id]

    @api.get(f"{root}/{{run_id}}/events")
    def events(run_id: int) -> Any:
        run = find_run(stub, run_id, kind)
        return schema.RunEvents(events=[schema.Moment(at=NOW, phase="queued"), schema.Moment(at=NOW, phase=run.phase)])

    @api.get(f"{root}/{{run_id}}/log")
    async def log(run_id: int, follow: bool = False, offset: int = 0) -> Response:
        find_run(stub, run_id, kind)
        return StreamingResponse(_log(stub, run_id, follow, offset), media_type="text/plain")

    run_files(api, stub, root)


async def _log(stub: Stub, run_id: int, follow: bool, offset: int) -> AsyncIterator[bytes]:
    assert stub.changed
    while True:
        async with stub.changed:
            if piece := stub.logs[run_id][offset:]:
                offset += len(piece)
            elif not follow or stub.runs[run_id].phase.ended:
                return
            else:
                await stub.changed.wait()
                continue
        yield piece


def run_files(api: FastAPI, stub: Stub, root: str) -> None:
    @api.get(f"{root}/{{run_id}}/outputs")
    def outputs(run_id: int, path: str = "", limit: int = 50, cursor: str | None = None) -> Any:
        below = [
            name.removeprefix(f"{path}/" if path else "") for name in stub.outputs[run_id] if name.startswith(path)
        ]
        sizes = Counter(name.split("/")[0] for name in below)
        found = [
            schema.OutputEntry(
                name=name,
                folder=name not in below,
                size=len(stub.outputs[run_id][f"{path}/{name}".lstrip("/")]) if name in below else None,
                changed_at=stub.written.get((run_id, f"{path}/{name}".lstrip("/")), NOW),
            )
            for name in sorted(sizes)
        ]
        return page(found, limit, cursor)

    @api.get(f"{root}/{{run_id}}/outputs/content/{{path:path}}")
    def output(run_id: int, path: str, request: Request) -> Response:
        content = stub.outputs[run_id][path]
        return ranged(request, content, f'"{hashlib.sha256(content).hexdigest()}"')

    @api.get(f"{root}/{{run_id}}/outputs.zip")
    def archive(run_id: int) -> Response:
        return zipped(stub.outputs[run_id])

    @api.get(f"{root}/{{run_id}}/attachments")
    def attachments(run_id: int) -> Any:
        held = stub.attachments[run_id]
        return page([schema.Attachment(name=name, size=len(text), locked=False) for name, text in held.items()])

    @api.put(f"{root}/{{run_id}}/attachments/{{name}}", status_code=204)
    async def attach(run_id: int, name: str, request: Request) -> None:
        stub.attachments[run_id][name] = await request.body()

    @api.get(f"{root}/{{run_id}}/attachments/{{name}}")
    def attachment(run_id: int, name: str) -> Response:
        if name not in stub.attachments[run_id]:
            raise Refused(404, "attachment_not_found")
        return Response(stub.attachments[run_id][name])

    @api.delete(f"{root}/{{run_id}}/attachments/{{name}}", status_code=204)
    def detach(run_id: int, name: str) -> None:
        del stub.attachments[run_id][name]
