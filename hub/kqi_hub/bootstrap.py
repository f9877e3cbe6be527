"""Put the service together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from kqi_hub.accounts.api import routes as account_routes
from kqi_hub.accounts.pages import routes as page_routes
from kqi_hub.admission.plan import Limits
from kqi_hub.admission.service import Admission
from kqi_hub.background import Loop
from kqi_hub.background.lease import Lease
from kqi_hub.background.signals import signals_of
from kqi_hub.data.api import routes as data_routes
from kqi_hub.data.service import DataService
from kqi_hub.data.sweep import DataSweep
from kqi_hub.data.uploads import Uploads
from kqi_hub.datasets import store as dataset_store
from kqi_hub.datasets.api import routes as dataset_routes
from kqi_hub.datasets.service import DatasetService
from kqi_hub.datasets.sweep import TreeSweep
from kqi_hub.datasets.trees import LayoutLoop, Trees
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.engine import open_backend, owner
from kqi_hub.identity.tokens import RunTokens
from kqi_hub.runs import api as run_routes
from kqi_hub.runs import crash
from kqi_hub.runs import store as run_store
from kqi_hub.runs.api import Runs
from kqi_hub.runs.asked import Resolver
from kqi_hub.runs.files_api import routes as file_routes
from kqi_hub.runs.launch_api import routes as launch_routes
from kqi_hub.runs.launcher import HubLauncher
from kqi_hub.runs.measure import Measure
from kqi_hub.runs.model import Run
from kqi_hub.runs.pages import routes as home_routes
from kqi_hub.runs.prepare import Preparation
from kqi_hub.runs.reconcile import Launcher, ReconcileLoop, Reconciler
from kqi_hub.runs.service import RunService
from kqi_hub.runs.sweep import LedgerSweep, archives, trees_at_work
from kqi_hub.runs.watch import Changes
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import Settings
from kqi_hub.sources.git import Git
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from kqi_hub.web import app as web
from kqi_hub.web.call import Platform
from kqi_hub.web.hub_session import HubSession
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.workload import Secret

log = logging.getLogger(__name__)
# Loops are woken by what happens; this is how long a lost wake-up would last.
_SWEEP_S = 30.0
_CLEAN_S = 3600.0
_Sweeps = Iterable[LedgerSweep | TreeSweep | DataSweep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the service stands on and a test may choose: the engine, the hub, and the addresses."""

    backend: ExecutionBackend
    launcher: Launcher
    service: Secret
    session: HubSession


async def application(settings: Settings, around: Around) -> FastAPI:
    """Return the service over a database that is migrated and a store that is prepared."""
    database = around.session.database
    await database.ping()  # the first connection switches a new database to WAL; two at once would find it locked
    files = Store(settings.store, owner(settings))
    files.prepare()
    blobs = Blobs(files)
    git = Git(
        home=settings.state / "git",
        timeout_s=settings.sources.timeout_s,
        local_paths=settings.sources.local_paths,
        owner=files.owner,
    )
    git.prepare()
    admission = Admission(
        capacity=await around.backend.capacity(),
        limits=Limits(per_tenant=settings.limits.running_per_tenant, per_person=settings.limits.running_per_person),
    )
    datasets = DatasetService(in_use=run_store.uses_dataset)
    tokens = RunTokens(key=kept_secret(settings, "run-tokens"))
    service = RunService(admission=admission, datasets=datasets, tokens=tokens)
    signals = signals_of(database)
    lease = Lease(database=database, signals=signals, name="loops")
    changes = Changes(signals)
    preparation = Preparation(
        database=database,
        files=files,
        blobs=blobs,
        git=git,
        datasets=datasets,
        tokens=tokens,
        server=(settings.addresses and settings.addresses.inside) or settings.url,
        defaults=settings.defaults,
        volumes=settings.volumes,
    )
    reconciler = Reconciler(
        database=database,
        backend=around.backend,
        preparation=preparation,
        service=service,
        files=files,
        launcher=around.launcher,
        changes=changes,
        may=lambda: lease.held,
    )
    trees = Trees(database=database, files=files, blobs=blobs)
    sweeps = (
        LedgerSweep(database=database, backend=around.backend),
        TreeSweep(database=database, files=files, at_work=trees_at_work),
        DataSweep(database=database, blobs=blobs, named=archives),
    )
    loops = _Loops(lease, reconciler, trees, sweeps)
    measure = Measure(database=database, backend=around.backend, service=service, wake=loops.reconcile.wake)
    capacity = Loop("capacity", measure.one_pass, every_s=_SWEEP_S, signals=signals, may=lambda: True)
    runs = Runs(
        service=service,
        resolver=Resolver(git),
        files=files,
        changes=changes,
        wake=loops.reconcile.wake,
        begin=loops.begin,
    )
    platform = Platform(settings=settings, database=database, service=around.service, browser=around.session.principal)
    platform.features = {
        DataService: DataService(uploads=Uploads(blobs), frozen=_frozen, in_dataset=_in_dataset),
        DatasetService: datasets,
        LayoutLoop: loops.layout,
        Runs: runs,
        Reconciler: reconciler,
        ExecutionBackend: around.backend,
        HubSession: around.session,
    }
    api = (
        *(account_routes, data_routes, dataset_routes, launch_routes),
        *(run_routes.trainings, run_routes.notebooks, run_routes.capacity, *file_routes),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        crash.arm(settings.crash)
        carrying = asyncio.create_task(signals.run())
        acting = asyncio.create_task(lease.hold(loops.run))
        # In every process, for each of them admits.
        measuring = asyncio.create_task(capacity.run())
        try:
            yield
        finally:
            # The lease is given back before the signals stop, which tell the others of it.
            for task in (measuring, acting, carrying):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await around.session.aclose()
            await database.close()

    return web.create(platform, api, [page_routes, home_routes], lifespan)


class _Loops:
    """What one process at a time does: the one that holds the lease. They are woken from all."""

    def __init__(self, lease: Lease, reconciler: Reconciler, trees: Trees, sweeps: _Sweeps) -> None:
        looping: dict[str, Any] = {"signals": lease.signals, "may": lambda: lease.held}
        self._lease = lease
        self._reconciler = reconciler
        self.reconcile = ReconcileLoop("reconcile", reconciler.one_pass, every_s=_SWEEP_S, **looping)
        self.layout = LayoutLoop("layout", trees.lay_out_pending, every_s=_SWEEP_S, **looping)
        self.clean = Loop("clean", lambda: _each(sweeps), every_s=_CLEAN_S, **looping)
        reconciler.wake = trees.ready = self.reconcile.wake_here

    def begin(self, run: Run) -> None:
        """Let the first step of a run that was recorded just now be taken, here or where the loops are."""
        if self._lease.held:
            self._reconciler.begin(run)
        else:
            self.reconcile.wake()

    async def run(self) -> None:
        """Go on until cancelled, or until one of them fails as none should."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (self.reconcile.run, self.layout.run, self.clean.run, self._reconciler.follow_backend):
                    group.create_task(work())
        finally:
            await self._reconciler.close()


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop; the supervisor has prepared its addresses."""
    asyncio.run(_serve(settings, Runtime.load(settings)))


async def _serve(settings: Settings, runtime: Runtime) -> None:
    token = kept_secret(settings, "service-token")
    session = HubSession(
        database=Database.of(settings),
        hub_url=runtime.hub_url,
        public_url=runtime.public_url,
        client_id=runtime.oauth_client_id,
        client_secret=token,
        key=kept_secret(settings, "sessions"),
    )
    backend = await open_backend(settings)
    launcher = HubLauncher(runtime.hub_url, token)
    app = await application(settings, Around(backend=backend, launcher=launcher, service=token, session=session))
    config = uvicorn.Config(
        app,
        host=runtime.api_host,
        port=runtime.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        proxy_headers=True,
        forwarded_allow_ips=list(runtime.forwarded_by),
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        await backend.close()
        await launcher.aclose()


async def _each(sweeps: _Sweeps) -> None:
    for sweep in sweeps:
        await sweep.one_pass()


async def _frozen(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=True)


async def _in_dataset(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=False)
