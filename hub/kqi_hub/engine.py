"""The engine that the settings name: the only place of the hub that knows a concrete backend."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings
from kqi_hub.settings_cluster import Cards as SaidCards
from kqi_hub.settings_cluster import Toleration as SaidToleration
from kqi_hub.settings_cluster import Total
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.kubernetes.settings import Cards, Claim, KubernetesSettings, Space, Toleration, Who
from kqi_spawner.local.accounts import ensure_account
from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.status import Capacity, GpuKind


class Engine(ExecutionBackend, Protocol):
    """A backend that was opened and is to be closed; closing it ends none of the work."""

    async def close(self) -> None: ...


async def open_backend(settings: Settings) -> Engine:
    """Return the engine that the settings name; used by the api and by the hub's Spawner class alike."""
    if settings.engine.kind == "kubernetes":
        return await _open_kubernetes(settings)
    return await open_local(settings)


async def open_local(settings: Settings) -> LocalBackend:
    """Return the engine of one machine."""
    engine = settings.engine
    gpus = None
    if engine.gpus is not None:
        gpus = tuple(GpuKind(name=c.kind, indexes=tuple(c.indexes), memory_mib=c.memory_mib) for c in engine.gpus)
    return await LocalBackend.opened(
        LocalSettings(
            state=settings.state,
            store=settings.store,
            environments=settings.environments,
            tools=settings.tools,
            run_as=owner(settings),
            isolation=None if engine.isolation == "auto" else Isolation(engine.isolation),
            volumes={volume.name: volume.path for volume in settings.volumes if volume.path},
            hidden=secret_files(settings),
            fallback_image=engine.fallback_image,
            gpus=gpus,
            cpu_milli=int(engine.cpu * 1000) if engine.cpu else None,
            memory_mib=int(engine.memory_gb * 1024) if engine.memory_gb else None,
        )
    )


def secret_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files that the configuration names and no run may read, and itself.

    Runs may have the account that the platform has, so what only it may read is no secret to them.
    """
    named = [settings.file, settings.server.tls_key, settings.database.password_file]
    named += [settings.smtp.password_file if settings.smtp else None]
    return (*(path for path in named if path is not None), *_named_by_traits(settings.traits))


def _named_by_traits(value: object) -> Iterator[Path]:
    """Yield the files that traits name, such as passwords and keys; what everybody may read is none of them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _named_by_traits(inner)
    elif isinstance(value, str) and value.startswith("/") and os.path.isfile(value):
        secret = not os.stat(value).st_mode & stat.S_IROTH
        yield from [Path(value)] if secret else []


async def _open_kubernetes(settings: Settings) -> Engine:
    try:
        # Of an extra that one machine does without.
        from kqi_spawner.kubernetes import spaces  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("extra_missing", extra="kubernetes", message=str(error)) from error
    return await spaces.opened(kubernetes_settings(settings))


def kubernetes_settings(settings: Settings) -> KubernetesSettings:
    """Return what the engine of a cluster is told. Raises ConfigError if nothing is said about the cluster."""
    said = settings.on_cluster
    cards = {
        one.kind: Cards(
            resource=one.resource,
            node_selector=one.node_selector,
            tolerations=_tolerations(one.tolerations),
            memory_mib=one.memory_mib,
        )
        for one in said.cards
    }
    return KubernetesSettings(
        platform=said.platform,
        namespace=said.namespace,
        store=settings.store,
        claim=said.claim,
        images=said.images,
        volumes={one.name: Claim(one.claim, one.folder) for one in settings.volumes if one.claim},
        allowed_images=tuple(said.allowed_images),
        image_pull_secrets=tuple(said.image_pull_secrets),
        kubeconfig=said.kubeconfig,
        user=said.user,
        who={tenant: Who(who) for tenant, who in said.who.items()},
        accounts=said.accounts,
        root=Space(namespace=said.root.namespace, claim=said.root.claim) if said.root else None,
        cards=cards,
        capacity=_total(said.capacity, said.cards) if said.capacity else None,
        image_patience_s=said.image_patience_s,
        cpu_request_share=said.cpu_request_share,
        memory_request_share=said.memory_request_share,
        shm_mib=said.shm_mib,
        node_selector=said.node_selector,
        tolerations=_tolerations(said.tolerations),
        priority_class=said.priority_class,
        pod_labels=said.pod_labels,
        pod_annotations=said.pod_annotations,
    )


def _total(said: Total, cards: list[SaidCards]) -> Capacity:
    counts = ((one, said.gpus.get(one.kind, 0)) for one in cards)
    return Capacity(
        cpu_milli=int(said.cpu * 1000),
        memory_mib=int(said.memory_gb * 1024),
        gpus=tuple(
            GpuKind(name=one.kind, indexes=tuple(range(count)), memory_mib=one.memory_mib) for one, count in counts
        ),
    )


def _tolerations(said: list[SaidToleration]) -> tuple[Toleration, ...]:
    return tuple(Toleration(key=one.key, value=one.value, effect=one.effect) for one in said)


def owner(settings: Settings) -> tuple[int, int] | None:
    """Return the account of the workloads where the platform runs as root; on one machine it is made if missing."""
    if os.geteuid() != 0:
        return None
    return settings.on_cluster.user if settings.engine.kind == "kubernetes" else ensure_account(settings.engine.run_as)
