"""What every part of the service stands on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kqi_hub.accounts.services import AccountServices
from kqi_hub.data.service import DataService
from kqi_hub.data.uploads import Uploads
from kqi_hub.datasets import store as dataset_store
from kqi_hub.datasets.service import DatasetService
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.engine import owner
from kqi_hub.identity.tokens import RunTokens
from kqi_hub.outbound import trust
from kqi_hub.outbound.addresses import Reach, networks
from kqi_hub.outbound.tunnel import Way
from kqi_hub.runs import store as run_store
from kqi_hub.runs.prepare import Preparation
from kqi_hub.runtime import kept_secret
from kqi_hub.settings import Settings
from kqi_hub.sources.git import Git
from kqi_hub.sources.local import LocalFolders
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from kqi_hub.tenants import placement
from kqi_spawner.workload import StorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    settings: Settings
    database: Database
    files: Store
    blobs: Blobs
    git: Git
    datasets: DatasetService
    tokens: RunTokens
    accounts: AccountServices

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Self:
        files = Store(settings.store, owner(settings))
        files.prepare()
        return cls(
            settings=settings,
            database=database,
            files=files,
            blobs=Blobs(files),
            git=_git(settings, files),
            datasets=DatasetService(in_use=run_store.uses_dataset),
            tokens=RunTokens(key=kept_secret(settings, "run-tokens")),
            accounts=AccountServices.of(settings, database),
        )

    @property
    def data(self) -> DataService:
        return DataService(
            uploads=Uploads(self.blobs), frozen=_frozen, in_dataset=_in_dataset, changed=self.datasets.refill
        )

    @property
    def preparation(self) -> Preparation:
        settings = self.settings
        return Preparation(
            database=self.database,
            files=self.files,
            blobs=self.blobs,
            git=self.git,
            datasets=self.datasets,
            tokens=self.tokens,
            credentials=self.accounts.credentials,
            server=(settings.addresses and settings.addresses.inside) or settings.url,
            authorities=_authorities(settings, self.files),
            defaults=settings.variables,
            here=placement.Platform.of(settings),
            sharing=settings.kubernetes.sharing if settings.kubernetes else frozenset(),
        )


def _git(settings: Settings, files: Store) -> Git:
    git = Git(
        home=settings.state / "git",
        timeout_s=settings.sources.timeout_s,
        local=LocalFolders(
            allowed=settings.sources.local_folders,
            closed=[settings.state, settings.store, *(volume.path for volume in settings.volumes if volume.path)],
        ),
        owner=files.owner,
        ca_file=settings.outbound.ca_file,
        proxies=settings.proxies,
        way=_way(settings),
    )
    git.prepare()
    return git


def _way(settings: Settings) -> Way | None:
    if settings.sources.private_networks is None:
        return None
    reach = Reach(networks(settings.sources.private_networks), networks(settings.outbound.closed_networks))
    return Way(reach=reach, proxies=settings.proxies)


def _authorities(settings: Settings, files: Store) -> StorePath | None:
    """Write what runs need to believe the platform's own certificate; None where any authority of the system may do."""
    known = [path for path in (settings.outbound.ca_file, settings.server.tls_cert) if path is not None]
    if not known:
        return None
    place = StorePath("authorities.pem")
    trust.write_certificates(known, files.path(place))
    return place


async def _frozen(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=True)


async def _in_dataset(scope: Scope, ids: Iterable[int]) -> set[int]:
    return await dataset_store.in_versions(scope, ids, frozen=False)
