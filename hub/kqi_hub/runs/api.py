"""Routes of trainings and notebooks; what both have is registered once for each."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Query

from kqi import schema
from kqi_hub.errors import KqiError
from kqi_hub.identity.policy import Permission
from kqi_hub.runs import asked, store, view
from kqi_hub.runs.asked import Resolver
from kqi_hub.runs.gone import set_aside
from kqi_hub.runs.model import Kind, Run
from kqi_hub.runs.service import RunService, Wanted
from kqi_hub.runs.store import Filter
from kqi_hub.runs.watch import Changes
from kqi_hub.storage.store import Store
from kqi_hub.web import paging
from kqi_hub.web.call import Call, Caller, CollectionCaller, ListCaller, feature
from kqi_hub.web.paging import Cursor, Limit
from kqi_hub.web.routes import Routes

Number = Annotated[int, Path(ge=1, le=2**53 - 1)]
PLURAL = {Kind.TRAINING: "trainings", Kind.NOTEBOOK: "notebooks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What the routes of runs stand on."""

    service: RunService
    resolver: Resolver
    files: Store
    changes: Changes
    wake: Callable[[], None]
    begin: Callable[[Run], None]
    clear: Callable[[], None]  # lets the folders go that were set aside


Feature = Annotated[Runs, feature(Runs)]
Search = Annotated[store.Search, Query()]
trainings = Routes("trainings")
notebooks = Routes("notebooks")
capacity = Routes("capacity")


@trainings.post("/trainings", permission=Permission.RUN_SUBMIT, status=201)
async def create_training(call: CollectionCaller, body: schema.CreateTraining, runs: Feature) -> schema.Run:
    """Submit a training: the commit is resolved and the dataset frozen now."""
    source = await runs.resolver.source(call.person.person, body.source)
    return await _submit(call, runs, asked.training(body, source))


@trainings.post("/trainings/{number}/copy", permission=Permission.RUN_SUBMIT, status=201)
async def copy_training(call: Caller, number: Number, body: schema.CopyTraining, runs: Feature) -> schema.Run:
    """Run it again as it was recorded; what the body gives is taken instead."""
    source = await runs.resolver.source(call.person.person, body.source)
    run = await store.one(call.scope, Kind.TRAINING, number)
    # One that another tenant shares is run in a tenant of the person's own.
    call.tenant = run.tenant if run.tenant in call.person.tenants(call.permission) else None
    return await _submit(call, runs, asked.copied(run, body, source))


@notebooks.post("/notebooks", permission=Permission.RUN_SUBMIT, status=201)
async def create_notebook(call: CollectionCaller, body: schema.CreateNotebook, runs: Feature) -> schema.Run:
    source = await runs.resolver.source(call.person.person, body.source)
    return await _submit(call, runs, asked.notebook(body, source))


@notebooks.post("/notebooks/{number}/start", permission=Permission.RUN_SUBMIT)
async def start_notebook(call: Caller, number: Number, runs: Feature) -> schema.Run:
    """Start an ended notebook again with its kept output; one at work is answered as it is."""
    run = await runs.service.start_again(call.scope, Kind.NOTEBOOK, number)
    call.after.append(runs.wake)
    return await _shown(call, runs, run)


@capacity.get("/capacity", permission=Permission.RUN_READ)
async def get_capacity(call: CollectionCaller, runs: Feature) -> schema.Capacity:
    """Say what there is and what is free now."""
    whole = runs.service.admission.capacity
    cpu, memory, cards, queued = await runs.service.admission.free(call.collection)
    return schema.Capacity(
        cpu_total=whole.cpu_milli / 1000,
        cpu_free=cpu / 1000,
        memory_gb_total=whole.memory_mib / 1024,
        memory_gb_free=memory / 1024,
        gpus=[
            schema.GpuFree(kind=kind.name, total=len(kind.indexes), free=sum(card.kind == kind.name for card in cards))
            for kind in whole.gpus
        ],
        queued=queued,
    )


def register(routes: Routes, kind: Kind) -> None:
    """Register the routes that every kind of run has."""
    name, base = kind.value, f"/{PLURAL[kind]}"

    async def list_runs(
        call: ListCaller, runs: Feature, search: Search, limit: Limit = 50, cursor: Cursor = None
    ) -> schema.Page[schema.Run]:
        """List newest first; `q` is looked for in title, name, memo and command."""
        wanted = Filter(kind=kind, search=search, before=paging.number_after(cursor), limit=limit + 1)
        scope = call.listed
        keys = await store.page(scope, wanted)
        found = {run.key: run for run in await store.several(scope, keys[:limit])}
        places = await runs.service.admission.places(
            scope, [run.key for run in found.values() if run.phase is schema.Phase.QUEUED]
        )
        return paging.page(keys, limit, int, lambda key: view.to_wire(found[key], places.get(key), call.language))

    async def get_run(
        call: Caller,
        number: Number,
        runs: Feature,
        wait_s: Annotated[float, Query(ge=0, le=60, allow_inf_nan=False)] = 0,
        unless: schema.Phase | None = None,
    ) -> schema.Run:
        """Get it; with `wait_s`, answer when its phase is no longer `unless`, or at the time limit."""
        run = await store.one(call.scope, kind, number)
        if wait_s and run.phase == unless:
            await _wait(call, runs, run, wait_s)
            async with call.platform.database.read() as session:
                fresh = await store.one(call.reading(session), kind, number)
                return await _shown(call, runs, fresh)
        return await _shown(call, runs, run)

    async def change_run(call: Caller, number: Number, body: schema.ChangeRun, runs: Feature) -> schema.Run:
        return await _shown(call, runs, await runs.service.change(call.scope, kind, number, body.model_dump()))

    async def stop_run(call: Caller, number: Number, body: schema.StopRun, runs: Feature) -> schema.Run:
        """Stop it: `cancel` lets it finish within its grace, `kill` ends it at once."""
        return await _shown(call, runs, await stop(call, runs, kind, number, body.mode))

    async def delete_run(call: Caller, number: Number, runs: Feature) -> None:
        """Delete an ended run with its output, log and attachments."""
        run = await runs.service.delete(call.scope, kind, number)
        set_aside(runs.files, run)
        call.after.append(runs.clear)

    async def list_events(call: Caller, number: Number) -> schema.RunEvents:
        run = await store.one(call.scope, kind, number)
        events = await store.events(call.scope, run.key)
        return schema.RunEvents(
            events=[schema.Moment(at=row.at, phase=row.phase, reason=row.reason, message=row.message) for row in events]
        )

    for handler in (list_runs, get_run, change_run, stop_run, delete_run, list_events):
        handler.__name__ = handler.__name__.replace("run", name)
    routes.get(base, permission=Permission.RUN_READ)(list_runs)
    routes.get(f"{base}/{{number}}", permission=Permission.RUN_READ)(get_run)
    routes.patch(f"{base}/{{number}}", permission=Permission.RUN_CONTROL)(change_run)
    routes.delete(f"{base}/{{number}}", permission=Permission.RUN_CONTROL)(delete_run)
    routes.post(f"{base}/{{number}}/stop", permission=Permission.RUN_CONTROL)(stop_run)
    list_events.__name__ = f"list_{name}_events"
    routes.get(f"{base}/{{number}}/events", permission=Permission.RUN_READ)(list_events)


async def stop(call: Call, runs: Runs, kind: Kind, number: int, mode: schema.StopMode) -> Run:
    run = await runs.service.stop(call.scope, kind, number, mode)
    call.after.append(runs.wake)
    call.after.append(lambda: runs.changes.announce(run.key))
    return run


async def _submit(call: Call, runs: Runs, wanted: Wanted) -> schema.Run:
    await asked.check_archive(call.collection, wanted.source)
    run, others = await runs.service.submit(call.collection, wanted)
    call.after.append(runs.wake if others else lambda: runs.begin(run))
    return await _shown(call, runs, run)


async def _shown(call: Call, runs: Runs, run: Run) -> schema.Run:
    places = await runs.service.admission.places(call.scope, [run.key] if run.phase is schema.Phase.QUEUED else [])
    return view.to_wire(run, places.get(run.key), call.language)


async def _wait(call: Call, runs: Runs, run: Run, wait_s: float) -> None:
    """Wait without a transaction; another process may have made the change, so look again now and then."""
    await call.session.rollback()
    end = asyncio.get_running_loop().time() + wait_s
    while (left := end - asyncio.get_running_loop().time()) > 0:
        await runs.changes.wait(run.key, min(left, 2.0))
        async with call.platform.database.read() as session:
            try:
                fresh = await store.one(call.reading(session), run.kind, run.number)
            except KqiError:
                return
        if fresh.phase != run.phase:
            return


register(trainings, Kind.TRAINING)
register(notebooks, Kind.NOTEBOOK)
