"""Through the service: the run list beside an OFFSET twin, and submit to first line beside a bare subprocess."""

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.record import Record, timed, timed_async
from kqi_hub.runs.rows import RunRow
from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running

_SIZES = [1_000, 10_000, 100_000]


def run() -> list[Record]:
    return asyncio.run(_all())


async def _all() -> list[Record]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        settings = load(environ={}, state=Path(folder), server={"port": free_port()})
        place = settings.environments / "default" / "bin"
        place.mkdir(parents=True)
        os.symlink("/usr/bin/python3", place / "python")
        async with running(settings) as service:
            token = await service.token("bench")
            headers = {"Authorization": f"Bearer {token}"}
            base = f"{service.url}/services/kqi/api/v1"
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=120) as client:
                started = await _submit(client)
                return [started, await _run_list(service, client)]


async def _submit(client: httpx.AsyncClient) -> Record:
    ours, theirs = [], []
    for _ in range(12):
        ours.append(await timed_async(lambda: _first_line(client)))
        theirs.append(await timed_async(_bare))
        await asyncio.sleep(0.3)
    fork = timed(lambda: subprocess.run(["/bin/true"], check=True))
    turn = await timed_async(lambda: client.get("/version"))
    overhead = statistics.median(ours) - statistics.median(theirs)
    return Record(
        name="submit_to_first_line",
        peer="bare subprocess",
        n=[1],
        ours=[statistics.median(ours)],
        theirs=[statistics.median(theirs)],
        limit={"fork+exec, s": fork, "one HTTP turn, s": turn, "overhead, s": overhead},
        target="overhead <= 60 ms plus one loop turn",
    )


async def _first_line(client: httpx.AsyncClient) -> None:
    answer = await client.post("/trainings", json={"command": "echo first", "zip": False})
    number = answer.json()["id"]
    async with client.stream("GET", f"/trainings/{number}/log", params={"follow": True}) as log:
        async for chunk in log.aiter_text():
            assert chunk == "first\n"
            return


async def _bare() -> None:
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "echo first", stdout=asyncio.subprocess.PIPE)
    assert process.stdout and await process.stdout.readline() == b"first\n"
    await process.wait()


async def _run_list(service: Running, client: httpx.AsyncClient) -> Record:
    twin_port = free_port()
    twin = uvicorn.Server(
        uvicorn.Config(_twin(service.database.engine), port=twin_port, log_config=None, access_log=False)
    )
    task = asyncio.create_task(twin.serve())
    ours, theirs = [], []
    me = (await client.get("/me")).json()
    made = 100
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{twin_port}", timeout=120) as other:
        while not twin.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        for size in _SIZES:
            await _fill(service, me["id"], made + 1, size)
            made = size
            cursor = None
            mine, deep = [], []
            for _ in range(15):
                mine.append(await timed_async(lambda: client.get("/trainings", params={"limit": 50})))
                deep.append(await timed_async(lambda size=size: other.get("/", params={"offset": size - 50})))
            first = (await client.get("/trainings", params={"limit": 50})).json()
            same = (await other.get("/", params={"offset": 0})).json()
            assert [item["id"] for item in first["items"]] == same
            del cursor
            ours.append(statistics.median(mine))
            theirs.append(statistics.median(deep))
        last = await _last_page(client, _SIZES[-1])
    twin.should_exit = True
    await task
    return Record(
        name="run_list",
        peer="FastAPI + SQLAlchemy twin with OFFSET, last page",
        n=_SIZES,
        ours=ours,
        theirs=theirs,
        limit={"deepest page by cursor, s": last, "page 1 at 100,000 / at 1,000": ours[-1] / ours[0]},
        target="page 1 of 100,000 within 1.5 x of page 1 of 1,000",
    )


async def _last_page(client: httpx.AsyncClient, size: int) -> float:
    """Walk to the end in pages of 1,000 and return what the last one cost."""
    cursor, took, seen = None, 0.0, 0
    while True:
        begin = time.perf_counter()
        page = (await client.get("/trainings", params={"limit": 1000, **({"cursor": cursor} if cursor else {})})).json()
        took = time.perf_counter() - begin
        seen += len(page["items"])
        cursor = page["next"]
        if cursor is None:
            assert seen >= size - 100, seen
            return took


async def _fill(service: Running, person: int, first: int, last: int) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "tenant_id": 1,
            "kind": "training",
            "number": number + 1_000,
            "attempt": 1,
            "title": f"run {number}",
            "name": f"run-{number}",
            "phase": "completed",
            "message": "",
            "command": "true",
            "image": "",
            "environment": "{}",
            "cpu_milli": 1000,
            "memory_mib": 1024,
            "gpus": 0,
            "cards": "[]",
            "zip": True,
            "stop_at_first_failure": False,
            "local_dataset": False,
            "grace_s": 30,
            "memo": "",
            "favorite": False,
            "server": "",
            "created_by": person,
            "created_at": now,
            "finished_at": now,
            "exit_code": 0,
        }
        for number in range(first, last + 1)
    ]
    for start in range(0, len(rows), 5000):
        async with service.database.write() as session:
            await session.execute(insert(RunRow), rows[start : start + 5000])


def _twin(engine: AsyncEngine) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page(offset: int) -> list[int]:
        query = text(
            "select number from runs where tenant_id = 1 and kind = 'training' order by key desc limit 50 offset :o"
        )
        async with engine.connect() as connection:
            return [number for (number,) in await connection.execute(query, {"o": offset})]

    return app
