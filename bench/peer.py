"""The peers of `bench.service` in a process of their own: `python -m bench.peer STATE PORT`.

FastAPI + SQLAlchemy as one writes them by hand: a run list by OFFSET, and files by one authenticated, fsynced PUT each.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from sqlalchemy import select

from kqi.schema import Run
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.identity import tokens
from kqi_hub.runs import store, view
from kqi_hub.runs.rows import RunRow

PREFIX = "/peer"


def app(state: Path) -> FastAPI:
    made = FastAPI()
    database = Database.at(state / "kqi.sqlite")
    kept = state / "peer"
    kept.mkdir(exist_ok=True)

    async def signed_in(authorization: str) -> None:
        async with database.read() as session:
            found = await tokens.find(session, authorization.removeprefix("Bearer "))
            if found is None or tokens.ended(found[0], now()):
                raise HTTPException(401)

    @made.get(f"{PREFIX}/runs")
    async def runs(authorization: Annotated[str, Header()], offset: int, limit: int) -> list[Run]:
        await signed_in(authorization)
        query = select(RunRow.key).where(RunRow.tenant_id == 1, RunRow.kind == "training").order_by(RunRow.key.desc())
        async with database.read() as session:
            keys = (await session.execute(query.limit(limit).offset(offset))).scalars().all()
            return [view.to_wire(run, None, "en") for run in await store.several(Scope(session), keys)]

    @made.put(f"{PREFIX}/files/{{name}}", status_code=204)
    async def put(authorization: Annotated[str, Header()], name: str, request: Request) -> None:
        await signed_in(authorization)
        with (kept / name).open("wb") as out:
            out.write(await request.body())
            out.flush()
            os.fsync(out.fileno())

    return made


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[1])), port=int(sys.argv[2]), log_config=None, access_log=False)
