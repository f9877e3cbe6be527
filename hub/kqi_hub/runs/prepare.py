"""Bring a run's inputs to its folder before the start. Every step may be repeated after a crash."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kqi import __version__
from kqi_hub.accounts.credentials import Credentials
from kqi_hub.datasets.model import Layout
from kqi_hub.datasets.service import DatasetService
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.errors import Conflict, NotFound
from kqi_hub.identity.rows import TenantRow
from kqi_hub.identity.tokens import RunTokens
from kqi_hub.runs.kinds import Inputs
from kqi_hub.runs.kinds.inputs import Parent, Tree
from kqi_hub.runs.model import Kind, Run, Source, folder
from kqi_hub.settings import Volume
from kqi_hub.sources import archive
from kqi_hub.sources.git import Git
from kqi_hub.storage import beneath
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store, answering_disk_errors, share_tree
from kqi_hub.tenants import placement
from kqi_spawner.workload import Access, Mount, StorePath, VolumePath


class NotReady(Exception):
    """Something that comes by itself is not there yet (a dataset being laid out); try again when woken."""


@dataclass(slots=True, kw_only=True)
class Preparation:
    database: Database
    files: Store
    blobs: Blobs
    git: Git
    datasets: DatasetService
    tokens: RunTokens
    credentials: Credentials
    here: placement.Platform
    server: str  # address under which workloads reach the platform
    authorities: StorePath | None = None  # what they believe its certificate by, beside those of their image
    defaults: Mapping[str, str] = field(default_factory=dict)
    sharing: frozenset[str] = frozenset()  # tenants whose workloads share files with the platform by its group
    _fetching: dict[int, asyncio.Future[None]] = field(default_factory=dict)  # commits on their way, by run

    async def inputs(self, run: Run) -> Inputs:
        """Make the run's folders and return what its recipe needs. Raises NotReady, or a KqiError that ends the run."""
        tree, shared = await self._tree(run), run.tenant in self.sharing
        given = await self._given(run)
        with answering_disk_errors():
            for name in ("output", "attach"):
                self.files.folder(run.folder / name, shared=shared)
            await self._code(run)
            if tree and run.local_dataset:
                await asyncio.to_thread(self._copy, tree.place, run.folder / "input")
            if shared:
                await asyncio.to_thread(self._share, run)
            workspace, archives = self._own(run, "workspaces"), self._own(run, "archives")
            home = self._own(run, "homes") if run.kind is Kind.NOTEBOOK else None
            parents = await asyncio.to_thread(self._parents, run)
        return Inputs(
            server=self.server,
            version=__version__,
            token=self.tokens.text(run.key, run.attempt),
            tree=tree,
            parents=parents,
            home=home,
            workspace=workspace,
            archive=archives,
            registries=await self.credentials.registries(run.person_id),
            volumes=given.volumes,
            nodes=given.nodes,
            shm_mib=given.shm_mib,
            shared=shared,
            authorities=self.authorities,
            defaults=self.defaults,
        )

    def give_up(self, run: Run) -> None:
        """End what may take long of bringing its inputs, because it is to stop."""
        fetching = self._fetching.pop(run.key, None)
        if fetching is not None:
            fetching.cancel()

    async def _given(self, run: Run) -> "_Given":
        """Return what an administrator gives the tenant: volumes of the settings, and what its own settings say."""
        async with self.database.read() as session:
            tenant = await session.get_one(TenantRow, run.tenant_id)
        everybody = [volume for volume in self.here.volumes if not volume.tenants or run.tenant in volume.tenants]
        seen = {volume.target: volume for volume in everybody}
        seen |= {path: volume for volume, path in placement.volumes(tenant.expand, run.tenant, self.here)}
        return _Given(
            volumes=tuple(_shown(volume, path) for path, volume in seen.items()),
            nodes=placement.labels(tenant.expand, tenant.nodes),
            shm_mib=placement.shm_mib(tenant.expand),
        )

    def _own(self, run: Run, of: str) -> StorePath:
        """A lasting folder of the person, seen by nobody else."""
        place = StorePath(f"{of}/{run.person}")
        self.files.folder(place, mode=0o700, shared=run.tenant in self.sharing)
        return place

    def _share(self, run: Run) -> None:
        """Let the group do with code and inputs what their owner may, as long as nobody else has been at them."""
        if run.attempt > 1:
            return
        for name in ("git", "input"):
            if (place := self.files.path(run.folder / name)).exists():
                share_tree(place)

    async def _tree(self, run: Run) -> Tree | None:
        if run.dataset is None:
            return None
        async with self.database.read() as session:
            version = await self.datasets.version(Scope(session), run.dataset, run.version)
        if version.state is Layout.PENDING:
            raise NotReady
        if version.state is Layout.FAILED:
            raise Conflict("dataset_not_laid_out", id=run.dataset, message=version.message)
        return Tree(place=version.place, splits=() if version.flat else tuple(version.entries))

    async def _code(self, run: Run) -> None:
        target = self.files.path(run.folder / "git")
        if target.exists():
            return
        if run.source is None:
            self.files.folder(run.folder / "git")
        elif run.source.kind == "git":
            await self._fetched(run, run.source, target)
        else:
            await asyncio.to_thread(self._unpack, run.source.sha256, target)

    async def _fetched(self, run: Run, source: Source, target: Path) -> None:
        """Bring a commit. Raises NotReady if the run is given up meanwhile."""
        access = await self.credentials.git(run.person_id, source.url)
        fetching = asyncio.ensure_future(self.git.clone(source.url, source.commit, target, access))
        self._fetching[run.key] = fetching
        try:
            await fetching
        except asyncio.CancelledError as error:
            if run.key in self._fetching:
                raise
            raise NotReady from error
        finally:
            self._fetching.pop(run.key, None)

    def _unpack(self, sha256: str, target: Path) -> None:
        with self.blobs.open(sha256) as file:
            archive.unpack(file, target, self.files.owner)

    def _copy(self, source: StorePath, target: StorePath) -> None:
        place = self.files.path(target)
        if place.exists():
            return
        building = place.with_name(".input.building")
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(self.files.path(source), building)
        for root, folders, files in os.walk(building):
            for name in (*folders, *files):
                self.files.own(Path(root, name)).chmod(0o755 if name in folders else 0o644)
        self.files.own(building)
        os.replace(building, place)

    def _parents(self, run: Run) -> tuple[Parent, ...]:
        found = []
        for number in run.parents:
            output = folder(Kind.TRAINING, number) / "output"
            try:
                entries = tuple(entry.name for entry in beneath.entries(self.files.path(output), ""))
            except NotFound as error:
                raise Conflict("parent_gone", id=number) from error
            found.append(Parent(number=number, output=output, entries=entries))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    volumes: tuple[Mount, ...]
    nodes: Mapping[str, tuple[str, ...]]
    shm_mib: int | None


def _shown(volume: Volume, path: str) -> Mount:
    return Mount(source=VolumePath(volume.name), target=path, access=Access(volume.access))
