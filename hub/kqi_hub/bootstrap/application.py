"""Put the service together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from kqi_hub import crash
from kqi_hub.accounts.pages import routes as page_routes
from kqi_hub.accounts.services import ROUTES as ACCOUNT_ROUTES
from kqi_hub.accounts.services import AccountServices, key_holders
from kqi_hub.administration.applications_api import routes as application_routes
from kqi_hub.administration.audit_api import routes as audit_routes
from kqi_hub.administration.courier import Postman
from kqi_hub.administration.desk import Desk, works
from kqi_hub.administration.errands import Errands
from kqi_hub.administration.estate import Estate
from kqi_hub.administration.hub import Hub
from kqi_hub.administration.leaving import Leaving
from kqi_hub.administration.people_api import routes as people_routes
from kqi_hub.administration.sessions_api import routes as session_routes
from kqi_hub.administration.suspend import Suspension
from kqi_hub.admission.plan import Limits
from kqi_hub.admission.service import Admission
from kqi_hub.audit.refusals import Refusals
from kqi_hub.audit.seals import Keeper
from kqi_hub.background.lease import Lease
from kqi_hub.background.loop import Loop
from kqi_hub.background.signals import signals_of
from kqi_hub.bootstrap.ground import Ground
from kqi_hub.bootstrap.loops import SWEEP_S, Loops, Sweeps
from kqi_hub.data import erase as data_erase
from kqi_hub.data.api import routes as data_routes
from kqi_hub.data.service import DataService
from kqi_hub.data.sweep import DataSweep
from kqi_hub.datasets import erase as dataset_erase
from kqi_hub.datasets.api import routes as dataset_routes
from kqi_hub.datasets.service import DatasetService
from kqi_hub.datasets.sweep import TreeSweep
from kqi_hub.datasets.trees import LayoutLoop, Trees
from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Directory
from kqi_hub.directory.configured import directory_of
from kqi_hub.identity import policy
from kqi_hub.runs import api as run_routes
from kqi_hub.runs import erase as run_erase
from kqi_hub.runs import store as run_store
from kqi_hub.runs.api import Runs
from kqi_hub.runs.asked import Resolver
from kqi_hub.runs.ends import Ends
from kqi_hub.runs.files_api import routes as file_routes
from kqi_hub.runs.gone import GoneFolders
from kqi_hub.runs.launch_api import routes as launch_routes
from kqi_hub.runs.measure import Measure
from kqi_hub.runs.pages import routes as home_routes
from kqi_hub.runs.reconcile import Launcher, Reconciler
from kqi_hub.runs.service import RunService
from kqi_hub.runs.suspended import EndSuspended
from kqi_hub.runs.sweep import LedgerSweep, archives, trees_at_work
from kqi_hub.runs.watch import Changes
from kqi_hub.runtime import kept_secret
from kqi_hub.settings import Settings
from kqi_hub.sharing.api import routes as share_routes
from kqi_hub.tenants.absence import Absence
from kqi_hub.tenants.api import routes as tenant_routes
from kqi_hub.tenants.erasure import Eraser
from kqi_hub.tenants.erasure_api import routes as erasure_routes
from kqi_hub.tenants.mappings_api import routes as mapping_routes
from kqi_hub.tenants.roles_api import routes as role_routes
from kqi_hub.tenants.service import TenantService
from kqi_hub.tenants.settings_api import routes as setting_routes
from kqi_hub.tenants.sync import Sync
from kqi_hub.web import app as web
from kqi_hub.web.call import Platform
from kqi_hub.web.hub_session import HubSession
from kqi_hub.web.repeated import RepeatedSweep
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.workload import Secret

API = (
    *(tenant_routes, setting_routes, erasure_routes, role_routes, mapping_routes, share_routes),
    *(*ACCOUNT_ROUTES, data_routes, dataset_routes, launch_routes),
    *(people_routes, session_routes, application_routes, audit_routes),
    *(run_routes.trainings, run_routes.notebooks, run_routes.capacity, *file_routes),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the service stands on and a test may choose: the engine, the hub, the addresses, and who knows people."""

    backend: ExecutionBackend
    launcher: Launcher
    service: Secret
    session: HubSession
    hub: Hub
    directory: Directory | None = None  # None: as configured


async def application(settings: Settings, around: Around) -> FastAPI:
    """Return the service over a database that is migrated and a store that is prepared."""
    database = around.session.database
    await database.ping()  # the first connection switches a new database to WAL; two at once would find it locked
    ground = Ground.of(settings, database)
    files, datasets, accounts = ground.files, ground.datasets, ground.accounts
    admission = Admission(
        capacity=await around.backend.capacity(),
        limits=Limits(per_tenant=settings.limits.running_per_tenant, per_person=settings.limits.running_per_person),
    )
    ends = Ends(notifications=accounts.notifications, url=settings.url)
    service = RunService(admission=admission, datasets=datasets, tokens=ground.tokens, ends=ends)
    signals = signals_of(database)
    lease = Lease(database=database, signals=signals, name="loops")
    changes = Changes(signals)
    reconciler = Reconciler(
        database=database,
        backend=around.backend,
        preparation=ground.preparation,
        service=service,
        files=files,
        launcher=around.launcher,
        changes=changes,
        may=lambda: lease.held,
    )
    trees = Trees(database=database, files=files, blobs=ground.blobs)
    data = ground.data
    estate = Estate(database=database, files=files, data=data, datasets=datasets, runs=service)
    desk = _desk(settings, around, estate, lease, Postman(accounts.notifications))
    eraser = Eraser(
        database=database,
        files=files,
        steps=(run_erase.some, dataset_erase.some, data_erase.some_data, data_erase.uploads),
        default=settings.default_tenant,
    )
    known = around.directory or directory_of(settings, database)
    absence = Absence(database=database, directory=known, ways_in=[key_holders])
    passes = {
        **accounts.passes,
        **desk.passes,
        "erase": (eraser.one_pass, SWEEP_S),
        "gone": (GoneFolders(database=database, files=files).one_pass, SWEEP_S),
        "absence": (absence.one_pass, settings.sign_in.look_again_s),
    }
    loops = Loops(lease, reconciler, trees, _sweeps(around, ground), passes)
    ends.wake = loops.more["notices"].wake
    desk.suspension.wake, desk.errands.wake = loops.more["suspend"].wake, loops.more["errands"].wake
    desk.suspension.hooks.append(EndSuspended(database=database, service=service, wake=loops.reconcile.wake_here))
    data.wake, eraser.wake = loops.layout.wake, loops.more["erase"].wake
    measure = Measure(database=database, backend=around.backend, service=service, wake=loops.reconcile.wake)
    capacity = Loop("capacity", measure.one_pass, every_s=SWEEP_S, signals=signals, may=lambda: True)
    runs = Runs(
        service=service,
        resolver=Resolver(ground.git, accounts.credentials),
        files=files,
        changes=changes,
        wake=loops.reconcile.wake,
        begin=loops.begin,
        clear=loops.more["gone"].wake,
    )
    platform = _platform(settings, around, accounts)
    platform.features = {
        DataService: data,
        DatasetService: datasets,
        LayoutLoop: loops.layout,
        Runs: runs,
        Reconciler: reconciler,
        ExecutionBackend: around.backend,
        HubSession: around.session,
        Desk: desk,
        Eraser: eraser,
        **_who(settings, database, known, capacity),
        **accounts.features,
    }

    crash.arm(settings.crash)
    # In every process there is `capacity`, for each of them admits.
    works = (signals.run, lambda: lease.hold(loops.run), capacity.run)
    ends_with = (platform.refusals.close, desk.hub.aclose, around.session.aclose, database.close)
    return web.create(platform, API, [page_routes, home_routes], lambda _app: _at_work(works, ends_with))


@contextlib.asynccontextmanager
async def _at_work(
    works: Sequence[Callable[[], Coroutine[Any, Any, None]]], ends_with: Sequence[Callable[[], Awaitable[None]]]
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        # The lease is given back before the signals stop, which tell the others of it.
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for end in ends_with:
            await end()


def _who(settings: Settings, database: Database, directory: Directory, capacity: Loop) -> dict[type[Any], Any]:
    """Return the features about people and what they belong to."""
    return {
        TenantService: TenantService(
            default=settings.default_tenant, busy=run_store.busy, limits_changed=capacity.wake
        ),
        Sync: Sync(database=database, directory=directory),
    }


def _platform(settings: Settings, around: Around, accounts: AccountServices) -> Platform:
    database = around.session.database
    return Platform(
        settings=settings,
        database=database,
        service=around.service,
        vault=accounts.vault,
        browser=around.session,
        refusals=Refusals(database=database),
        everybody=policy.everybody(settings.tenants.created_by),
    )


def _desk(settings: Settings, around: Around, estate: Estate, lease: Lease, postman: Postman) -> Desk:
    database = estate.database
    keeper = Keeper(
        database=database,
        key=kept_secret(settings, "audit-seals"),
        file=settings.state / "audit" / "seals",
        keep_days=settings.audit.keep_days,
    )
    leaving = Leaving(estate=estate, hub=around.hub)
    return Desk(
        keeper=keeper,
        suspension=Suspension(database=database, hub=around.hub),
        errands=Errands(database=database, kinds=works(leaving), may=lambda: lease.held),
        leaving=leaving,
        hub=around.hub,
        courier=postman,
    )


def _sweeps(around: Around, ground: Ground) -> Sweeps:
    database = around.session.database
    return (
        LedgerSweep(database=database, backend=around.backend),
        TreeSweep(database=database, files=ground.files, at_work=trees_at_work),
        DataSweep(database=database, blobs=ground.blobs, named=archives),
        RepeatedSweep(database=database),
    )
