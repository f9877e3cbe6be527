"""What the stub keeps, and how it answers: shared by its routes."""

import asyncio
import io
import re
import threading
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from kqi import schema

API = "/services/kqi/api/v1"
TOKEN = "kqi_marked-secret-token"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Fault:
    """What happens to the next `times` requests that fit, after `skip` of them went well."""

    method: str
    path: str  # regular expression
    kind: str  # cut: the answer breaks off after `after` bytes; refuse: status 503; hold: no answer until released
    times: int = 1
    skip: int = 0
    after: int = 0
    status: int = 503
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Stub:
    def __init__(self) -> None:
        self.url = ""
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.data: dict[int, schema.Data] = {}
        self.drafts: set[int] = set()
        self.files: dict[int, dict[str, str]] = {}
        self.datasets: dict[int, list[schema.Dataset]] = {}
        self.runs: dict[int, schema.Run] = {}
        self.logs: dict[int, bytes] = {}
        self.outputs: dict[int, dict[str, bytes]] = {}
        self.written: dict[tuple[int, str], datetime] = {}  # when an output was, if not `NOW`
        self.attachments: dict[int, dict[str, bytes]] = {}
        self.tokens: dict[int, schema.Token] = {}
        self.keys: dict[str, Any] = {}
        self.types = ["training", "validation", "testing"]
        self.devices: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.changed: asyncio.Condition | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def fresh(self) -> "Stub":
        """Forget everything, and answer the stub itself."""
        vars(self).update(vars(Stub()))
        return self

    def count(self, method: str, path: str) -> int:
        return sum(1 for seen, where in self.requests if seen == method and re.fullmatch(path, where))

    def finish(self, run_id: int, phase: schema.Phase = schema.Phase.COMPLETED, log: bytes = b"") -> None:
        """End a held run, from the thread of a test."""
        assert self.loop
        asyncio.run_coroutine_threadsafe(self._finish(run_id, phase, log), self.loop).result(10)

    def write(self, run_id: int, log: bytes) -> None:
        """Let a held run write something, from the thread of a test."""
        assert self.loop
        asyncio.run_coroutine_threadsafe(self._write(run_id, log), self.loop).result(10)

    async def _write(self, run_id: int, log: bytes) -> None:
        assert self.changed
        async with self.changed:
            self.logs[run_id] += log
            self.changed.notify_all()

    async def _finish(self, run_id: int, phase: schema.Phase, log: bytes) -> None:
        assert self.changed
        async with self.changed:
            self.logs[run_id] += log
            done = {"phase": phase, "exit_code": 0 if phase is schema.Phase.COMPLETED else 1, "finished_at": NOW}
            self.runs[run_id] = self.runs[run_id].model_copy(update=done)
            self.changed.notify_all()


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = schema.Problem(type="about:blank", title=code, status=status, code=code, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, "application/problem+json")


class Refused(Exception):
    def __init__(self, status: int, code: str, detail: str = "refused by the stub") -> None:
        self.answer = (status, code, detail)


def page(items: list[Any], limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    start = int(cursor or 0)
    rest = start + limit < len(items)
    shown = [item.model_dump(mode="json") if hasattr(item, "model_dump") else item for item in items]
    return {"items": shown[start : start + limit], "next": str(start + limit) if rest else None}


def once(stub: Stub, request: Request, make: Any) -> Any:
    """Answer a repeated Idempotency-Key with what the first one made."""
    key = request.headers.get("idempotency-key")
    if key is None:
        raise Refused(400, "no_key", "an Idempotency-Key is missing")
    if key not in stub.keys:
        stub.keys[key] = make()
    return stub.keys[key]


def ranged(request: Request, content: bytes, etag: str) -> Response:
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if asked and request.headers.get("if-range") == etag:
        start = int(asked[1])
        if start >= len(content):
            return problem(416, "range_not_satisfiable", "too far")
        headers = {"etag": etag, "content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return Response(content[start:], 206, headers)
    return Response(content, 200, {"etag": etag})


def zipped(files: dict[str, bytes]) -> Response:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return Response(out.getvalue(), media_type="application/zip")
