"""Through the platform's own door: submit to first line, the run list, and the upload of many small files."""

import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert, select
from tests.platform import Platform

import kqi
from bench.peer import PREFIX
from bench.record import Record, timed, timed_async
from kqi.schema import CreateData
from kqi_hub.db.engine import Database
from kqi_hub.identity.rows import PersonRow
from kqi_hub.runs.rows import RunRow
from kqi_hub.testing.service import free_port

_RUNS = [1_000, 10_000, 100_000]
_FILES = [1_000, 10_000]
_PAGE = 50
_USER = "bench"


def run() -> list[Record]:
    with Platform(environment=False) as platform:
        platform.command("image", "add", "default", "--python", "/usr/bin/python3")
        platform.add_user(_USER)
        token = platform.token(_USER)
        with _peer(platform) as peer:
            return [
                asyncio.run(_submit(platform, token)),
                _upload(platform, token, peer),
                _run_list(platform, token, peer),
            ]


@contextmanager
def _peer(platform: Platform) -> Iterator[str]:
    """Run the peers behind the platform's own proxy; yield their address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.peer", platform.state, str(port)])
    chosen = json.loads((platform.state / "run" / "runtime.json").read_text())
    key = (platform.state / "secrets" / "proxy-token").read_text().strip()
    route = f"{chosen['proxy_api_url']}/api/routes{PREFIX}"
    body = {"target": f"http://127.0.0.1:{port}"}
    try:
        httpx.post(route, json=body, headers={"Authorization": f"token {key}"}).raise_for_status()
        while httpx.get(f"{platform.url}{PREFIX}/runs").status_code != 422:
            assert process.poll() is None
        yield f"{platform.url}{PREFIX}"
    finally:
        process.terminate()
        process.wait(10)


async def _submit(platform: Platform, token: str) -> Record:
    ours, theirs, turns = [], [], []
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=platform.api, headers=headers, timeout=120) as client:
        for _ in range(25):
            ours.append(await timed_async(lambda: _first_line(client)))
            theirs.append(await timed_async(_bare))
            await asyncio.sleep(0.3)
            turns.append(await timed_async(lambda: client.get("/me")))
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


def _upload(platform: Platform, token: str, peer: str) -> Record:
    """Files of 1 KiB by the SDK, beside a loop of single PUTs through the same proxy.

    Nothing is deleted before the end: for minutes ext4 steps over deleted files' inodes, one by one, at every new file.
    """
    ours, theirs = [], []
    headers = {"Authorization": f"Bearer {token}"}
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as sent,
        kqi.Client(platform.url, token=token) as client,
        httpx.Client(headers=headers, timeout=60) as plain,
    ):
        for count in _FILES:
            folder = Path(sent) / f"{count}-files"
            contents = {f"{count}-{number:05}.bin": os.urandom(1024) for number in range(count)}
            folder.mkdir()
            for file, content in contents.items():
                (folder / file).write_bytes(content)
            made: list[kqi.Data] = []
            ours.append(timed(lambda: made.append(client.data.upload([folder], CreateData(name=folder.name)))))  # noqa: B023
            theirs.append(timed(lambda: [_put(plain, peer, file, content) for file, content in contents.items()]))  # noqa: B023
            kept = {file.path.rsplit("/", 1)[-1]: file.sha256 for file in client.data.files(made[0].id)}
            assert kept == {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
            assert {path.name: path.read_bytes() for path in (platform.state / "peer").glob(f"{count}-*")} == contents
        turn = min(timed(lambda: client.me()) for _ in range(5))
    return Record(
        name="upload_small_files",
        peer="a loop of authenticated, fsynced HTTP PUTs through the same proxy",
        n=_FILES,
        ours=ours,
        theirs=theirs,
        limit={"one turn through the proxy, s": turn, "loop / ours": theirs[-1] / ours[-1]},
        target=">= 10 x the loop",
    )


def _put(client: httpx.Client, peer: str, name: str, content: bytes) -> None:
    client.put(f"{peer}/files/{name}", content=content).raise_for_status()


def _run_list(platform: Platform, token: str, peer: str) -> Record:
    """Page 1 and the deepest page by cursor, beside a twin that finds the same pages by OFFSET."""
    first, ours, theirs, made = [], [], [], 0
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:

        def page(**params: Any) -> Any:
            return client.get(f"{platform.api}/trainings", params=params).json()

        def by_offset(offset: int) -> Any:
            return client.get(f"{peer}/runs", params={"offset": offset, "limit": _PAGE}).json()

        for size in _RUNS:
            asyncio.run(_fill(platform, made + 1, size))
            made = size
            cursor, depth = _deepest(page)
            assert page(limit=_PAGE, cursor=cursor)["items"] == by_offset(depth), "the twin answers otherwise"
            top, deep, other = [], [], []
            for _ in range(15):
                top.append(timed(lambda: page(limit=_PAGE)))
                deep.append(timed(lambda cursor=cursor: page(limit=_PAGE, cursor=cursor)))
                other.append(timed(lambda depth=depth: by_offset(depth)))
            first.append(statistics.median(top))
            ours.append(statistics.median(deep))
            theirs.append(statistics.median(other))
    return Record(
        name="run_list",
        peer="FastAPI + SQLAlchemy twin behind the same proxy: the deepest page by OFFSET",
        n=_RUNS,
        ours=ours,
        theirs=theirs,
        limit={"page 1 at 100,000 / at 1,000": first[-1] / first[0], "page 1 at 100,000, s": first[-1]},
        target="page 1 of 100,000 within 1.5 x of page 1 of 1,000",
    )


def _deepest(page: Any) -> tuple[str, int]:
    """Walk down in large pages and return a cursor near the end, with the number of runs before it."""
    cursor, seen = "", 0
    while True:
        answer = page(limit=950, **({"cursor": cursor} if cursor else {}))
        if answer["next"] is None or len(answer["items"]) < 950:
            return cursor, seen
        seen += len(answer["items"])
        cursor = answer["next"]


async def _fill(platform: Platform, first: int, last: int) -> None:
    database = Database.at(platform.state / "kqi.sqlite")
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
    await database.close()
