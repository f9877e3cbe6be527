"""Two namespaces as one engine: in the second are the workloads of people who are root in theirs."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace

from kqi_spawner.kubernetes.backend import KubernetesBackend, Launched
from kqi_spawner.kubernetes.manifest import Manifest
from kqi_spawner.kubernetes.overlay import Shape
from kqi_spawner.kubernetes.settings import KubernetesSettings, Who
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, WorkloadStatus
from kqi_spawner.workload import Workload


async def opened(settings: KubernetesSettings) -> "KubernetesBackend | Spaces":
    """Connect and look at what is there. Raises `CannotStart`."""
    plain = await KubernetesBackend.opened(settings)
    if settings.root is None:
        return plain
    try:
        apart = replace(settings, namespace=settings.root.namespace, claim=settings.root.claim)
        return Spaces(settings, plain, await KubernetesBackend.opened(apart))
    except BaseException:
        await plain.close()
        raise


class Spaces:
    """Which of the two a workload goes to is its tenant's; afterwards it is where it is."""

    def __init__(self, settings: KubernetesSettings, plain: KubernetesBackend, root: KubernetesBackend) -> None:
        self._settings, self._plain, self._root = settings, plain, root

    async def close(self) -> None:
        await self._plain.close()
        await self._root.close()

    async def start(self, workload: Workload, *, shape: Shape | None = None) -> None:
        one, other = self._for(workload)
        # The policy of a tenant may have changed since it began.
        if not other.knows(workload.name):
            await one.start(workload, shape=shape)

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        if anew:
            await self._root.observe(names, anew=True)
        apart = {name for name in names if self._root.knows(name)}
        plain = await self._plain.observe([name for name in names if name not in apart], anew=anew)
        return {**plain, **await self._root.observe(apart)}

    async def stop(self, name: WorkloadName, *, grace_s: float) -> None:
        await self._of(name).stop(name, grace_s=grace_s)

    async def forget(self, name: WorkloadName) -> None:
        await self._of(name).forget(name)

    def logs(self, name: WorkloadName, *, follow: bool) -> AsyncIterator[bytes]:
        return self._of(name).logs(name, follow=follow)

    async def capacity(self) -> Capacity:
        return await self._plain.capacity()

    async def changes(self) -> AsyncIterator[WorkloadName]:
        queue: asyncio.Queue[WorkloadName] = asyncio.Queue()
        with self._plain.told(queue), self._root.told(queue):
            while True:
                yield await queue.get()

    async def address(self, name: WorkloadName, port: int) -> tuple[str, int]:
        return await self._of(name).address(name, port)

    async def launched(self, name: WorkloadName) -> Launched | None:
        return await self._plain.launched(name) or await self._root.launched(name)

    async def pod(self, name: WorkloadName) -> Manifest:
        return await self._of(name).pod(name)

    def namespace_of(self, workload: Workload) -> str:
        one, other = self._for(workload)
        return (other if other.knows(workload.name) else one).namespace_of(workload)

    @property
    def counted(self) -> frozenset[str]:
        return self._plain.counted

    def _for(self, workload: Workload) -> tuple[KubernetesBackend, KubernetesBackend]:
        """Return where it is to go, and the other one."""
        is_root = self._settings.who_is(workload.tenant) is Who.ROOT
        return (self._root, self._plain) if is_root else (self._plain, self._root)

    def _of(self, name: WorkloadName) -> KubernetesBackend:
        return self._root if self._root.knows(name) else self._plain
