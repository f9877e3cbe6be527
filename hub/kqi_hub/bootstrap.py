"""Put the service together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from kqi_hub.accounts.api import routes as account_routes
from kqi_hub.accounts.pages import routes as page_routes
from kqi_hub.admission.plan import Limits
from kqi_hub.admission.service import Admission
from kqi_hub.background import Loop
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the service stands on and a test may choose: the engine, the hub, and the addresses."""

    backend: ExecutionBackend
    launcher: Launcher
    service: Secret
    session: HubSession


async def application(settings: Settings, around: Around) -> FastAPI:
    """Return the service over a database that is migrated and a store that is prepared."""
    database = Database.at(settings.database)
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
    limits = Limits(per_tenant=settings.limits.running_per_tenant, per_person=settings.limits.running_per_person)
    admission = Admission(capacity=await around.backend.capacity(), limits=limits)
    datasets = DatasetService(in_use=run_store.uses_dataset)
    tokens = RunTokens(key=kept_secret(settings, "run-tokens"))
    service = RunService(admission=admission, datasets=datasets, tokens=tokens)
    changes = Changes()
    preparation = Preparation(
        database=database,
        files=files,
        blobs=blobs,
        git=git,
        datasets=datasets,
        tokens=tokens,
        server=settings.url,
        defaults=settings.defaults,
    )
    reconciler = Reconciler(
        database=database,
        backend=around.backend,
        preparation=preparation,
        service=service,
        files=files,
        launcher=around.launcher,
        changes=changes,
    )
    reconcile = ReconcileLoop("reconcile", reconciler.one_pass, every_s=_SWEEP_S)
    reconciler.wake = reconcile.wake
    trees = Trees(database=database, files=files, blobs=blobs, ready=reconcile.wake)
    layout = LayoutLoop("layout", trees.lay_out_pending, every_s=_SWEEP_S)
    sweeps = (
        LedgerSweep(database=database, backend=around.backend),
        TreeSweep(database=database, files=files, at_work=trees_at_work),
        DataSweep(database=database, blobs=blobs, named=archives),
    )
    clean = Loop("clean", lambda: _each(sweeps), every_s=_CLEAN_S)
    runs = Runs(
        service=service,
        resolver=Resolver(git),
        files=files,
        changes=changes,
        wake=reconcile.wake,
        begin=reconciler.begin,
    )
    platform = Platform(settings=settings, database=database, service=around.service, browser=around.session.principal)
    platform.features = {
        DataService: DataService(uploads=Uploads(blobs), frozen=_frozen, in_dataset=_in_dataset),
        DatasetService: datasets,
        LayoutLoop: layout,
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
        loops = (reconcile.run(), layout.run(), clean.run(), reconciler.follow_backend())
        tasks = [asyncio.create_task(work) for work in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reconciler.close()
            await around.session.aclose()
            await database.close()

    return web.create(platform, api, [page_routes, home_routes], lifespan)


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop; the supervisor has prepared its addresses."""
    asyncio.run(_serve(settings, Runtime.load(settings)))


async def _serve(settings: Settings, runtime: Runtime) -> None:
    token = kept_secret(settings, "service-token")
    session = HubSession(
        database=Database.at(settings.database),
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
        forwarded_allow_ips="127.0.0.1",
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        await backend.close()
        await launcher.aclose()


async def _each(sweeps: Iterable[LedgerSweep | TreeSweep | DataSweep]) -> None:
    for sweep in sweeps:
        await sweep.one_pass()


async def _frozen(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=True)


async def _in_dataset(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=False)
