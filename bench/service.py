"""Through the platform's own door: submit to first line, the run list, and the upload of many small files."""

import asyncio
import statistics
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import insert, select
from tests.platform import Platform

from bench.record import Record, timed, timed_async
from kqi.schema import Run
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.identity.rows import PersonRow
from kqi_hub.runs import store, view
from kqi_hub.runs.rows import RunRow
from kqi_hub.testing.service import free_port

_SIZES = [1_000, 10_000, 100_000]
_PAGE = 50
_USER = "bench"


def run() -> list[Record]:
    with Platform(environment=False) as platform:
        platform.command("image", "add", "default", "--python", "/usr/bin/python3")
        platform.add_user(_USER)
        return asyncio.run(_all(platform))


async def _all(platform: Platform) -> list[Record]:
    headers = {"Authorization": f"Bearer {platform.token(_USER)}"}
    async with httpx.AsyncClient(base_url=platform.api, headers=headers, timeout=120) as client:
        started = await _submit(client)
        return [started]
        return [started, await _run_list(platform, client)]


async def _submit(client: httpx.AsyncClient) -> Record:
    ours, theirs, turns = [], [], []
    for _ in range(25):
        ours.append(await timed_async(lambda: _first_line(client)))
        theirs.append(await timed_async(_bare))
        turns.append(await timed_async(lambda: client.get("/trainings", params={"limit": 1})))
        await asyncio.sleep(0.3)
    fork = timed(lambda: subprocess.run(["/bin/true"], check=True))
    overhead = statistics.median(ours) - statistics.median(theirs)
    return Record(
        name="submit_to_first_line",
        peer="bare subprocess",
        n=[1],
        ours=[statistics.median(ours)],
        theirs=[statistics.median(theirs)],
        limit={
            "fork+exec, s": fork,
            "one turn through the proxy, s": statistics.median(turns),
            "overhead, s": overhead,
        },
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


async def _run_list(platform: Platform, client: httpx.AsyncClient) -> Record:
    """Page 1 and the deepest page by cursor, beside a twin that finds the same pages by OFFSET."""
    database = Database.at(platform.state / "kqi.sqlite")
    first, ours, theirs, made = [], [], [], 0
    async with _served(_twin(database)) as address, httpx.AsyncClient(base_url=address, timeout=120) as twin:
        for size in _SIZES:
            await _fill(database, made + 1, size)
            made = size
            cursor, depth = await _deepest(client)

            async def page(params: dict[str, object]) -> list[dict[str, object]]:
                return (await client.get("/trainings", params={"limit": _PAGE, **params})).json()["items"]  # type: ignore[no-any-return,arg-type]

            async def by_offset(depth: int = depth) -> list[dict[str, object]]:
                return (await twin.get("/", params={"offset": depth})).json()  # type: ignore[no-any-return]

            assert await page({"cursor": cursor}) == await by_offset(), "the twin answers otherwise"
            top, deep, other = [], [], []
            for _ in range(15):
                top.append(await timed_async(lambda: page({})))
                deep.append(await timed_async(lambda cursor=cursor: page({"cursor": cursor})))
                other.append(await timed_async(by_offset))
            first.append(statistics.median(top))
            ours.append(statistics.median(deep))
            theirs.append(statistics.median(other))
    await database.close()
    return Record(
        name="run_list",
        peer="FastAPI + SQLAlchemy twin: the deepest page by OFFSET, without sign-in, without the proxy",
        n=_SIZES,
        ours=ours,
        theirs=theirs,
        limit={"page 1 at 100,000 / at 1,000": first[-1] / first[0], "page 1 at 100,000, s": first[-1]},
        target="page 1 of 100,000 within 1.5 x of page 1 of 1,000",
    )


async def _deepest(client: httpx.AsyncClient) -> tuple[str, int]:
    """Walk to the end in pages of 1,000 and return a cursor near it, with the number of runs before it."""
    cursor, seen = "", 0
    while True:
        answer = (
            await client.get("/trainings", params={"limit": 950, **({"cursor": cursor} if cursor else {})})
        ).json()
        if answer["next"] is None or len(answer["items"]) < 950:
            return cursor, seen
        seen += len(answer["items"])
        cursor = answer["next"]


async def _fill(database: Database, first: int, last: int) -> None:
    now = datetime.now(UTC)
    async with database.read() as session:
        person = (await session.execute(select(PersonRow.id).where(PersonRow.name == _USER))).scalar_one()
    fixed = {"tenant_id": 1, "kind": "training", "attempt": 1, "phase": "completed", "message": "", "command": "true"}
    fixed |= {"image": "", "environment": "{}", "cpu_milli": 1000, "memory_mib": 1024, "gpus": 0, "cards": "[]"}
    fixed |= {"zip": True, "stop_at_first_failure": False, "local_dataset": False, "grace_s": 30, "memo": ""}
    fixed |= {"favorite": False, "server": "", "created_by": person, "created_at": now, "finished_at": now}
    rows = [
        {**fixed, "number": number + 1_000, "title": f"run {number}", "name": f"run-{number}", "exit_code": 0}
        for number in range(first, last + 1)
    ]
    for start in range(0, len(rows), 5000):
        async with database.write() as session:
            await session.execute(insert(RunRow), rows[start : start + 5000])


def _twin(database: Database) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page(offset: int) -> list[Run]:
        query = select(RunRow.key).where(RunRow.tenant_id == 1, RunRow.kind == "training").order_by(RunRow.key.desc())
        async with database.read() as session:
            keys = (await session.execute(query.limit(_PAGE).offset(offset))).scalars().all()
            return [view.to_wire(run, None, "en") for run in await store.several(Scope(session), keys)]

    return app


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task
