"""The Kubernetes engine behind the seam: work is a Job, a server a pod; the cluster remembers what became of them."""

import asyncio
import base64
import fnmatch
import os
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from kqi_spawner import logfile
from kqi_spawner.errors import BackendError, CannotStart, UnknownImage
from kqi_spawner.kubernetes import capacity, entry, labels, manifest
from kqi_spawner.kubernetes.cache import Cache
from kqi_spawner.kubernetes.client import ApiError, Client, Gone
from kqi_spawner.kubernetes.observe import USED_UP, SeenPod, last_complaint, slow_at, status
from kqi_spawner.kubernetes.overlay import Shape
from kqi_spawner.kubernetes.settings import KubernetesSettings, Who
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, Phase, WorkloadStatus
from kqi_spawner.workload import Secret, Workload

_ENDED = {Phase.EXITED, Phase.LOST}
# A file on another machine announces nothing: look so often while somebody reads along.
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What somebody who lost it must know again of a workload."""

    port: int | None
    secrets: Mapping[str, Secret] = field(repr=False)


class KubernetesBackend:
    """Made by `opened`; one object per event loop, `close` ends none of the work."""

    def __init__(self, settings: KubernetesSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._cache = Cache(settings, client)

    @classmethod
    async def opened(cls, settings: KubernetesSettings) -> Self:
        """Connect and look at what is there. Raises `BackendError`."""
        backend = cls(settings, await Client.opened(settings.kubeconfig))
        try:
            await backend._cache.open()
        except BaseException:
            await backend.close()
            raise
        return backend

    async def close(self) -> None:
        await self._cache.close()
        await self._client.close()

    async def start(self, workload: Workload, *, shape: Shape | None = None) -> None:
        """Begin it as on every engine; `shape` may add to the pod."""
        name = workload.name
        begun = self._cache.knows(name)
        if begun and (self._cache.is_whole(name) or self._status(name).phase is not Phase.PENDING):
            return
        image = self._image(workload.image)
        if not begun:
            job = manifest.job(workload, image, self._settings)
            if shape is not None:
                job["spec"]["template"] = shape(job["spec"]["template"])
            await asyncio.to_thread(self._open_log, workload)
            await self._begin(job, alone=workload.port is not None)
        # After their owner, with which they go, whoever removes it. A pod waits for the last of them.
        own = (manifest.pull_secret(workload, image, self._settings), manifest.secret(workload, self._settings))
        try:
            for one in own:
                if one is not None:
                    await self._hide(name, one)
        except CannotStart:
            await self._remove(name)
            raise
        self._cache.note_whole(name)

    def knows(self, name: WorkloadName) -> bool:
        """Whether it was started, and not yet forgotten, as far as has been heard."""
        return self._cache.knows(name)

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        for name in names:
            # That a Job has failed and that its pod is there come by different watches.
            if anew or (self._status(name).phase is Phase.LOST and self._cache.pod(name) is None):
                await self._ask(name)
            await self._ask_why(name)
        return {name: self._status(name) for name in names}

    async def stop(self, name: WorkloadName, *, grace_s: float) -> None:
        if self._status(name).phase in {Phase.ABSENT, *_ENDED}:
            return
        pod = self._cache.pod(name)
        if pod is None:
            # No pod yet: the controller is told to make none, and what it makes meanwhile it ends itself.
            patch = {"metadata": {"annotations": {labels.STOPPED: "yes"}}, "spec": {"suspend": True}}
            self._cache.put_job(await self._client.merge(f"{self._jobs}/{name}", patch))
            return
        await self._end_pod(pod, grace_s)

    async def forget(self, name: WorkloadName) -> None:
        """Raises `BackendError` for a workload that has not ended."""
        seen = self._status(name)
        if seen.phase is Phase.ABSENT:
            return
        if seen.phase not in _ENDED:
            raise BackendError(f"{name} has not ended ({seen.phase.value})")
        pod = self._cache.pod(name)
        if pod is not None and pod.kept:
            await self._release(pod)
        await self._remove(name)

    async def logs(self, name: WorkloadName, *, follow: bool) -> AsyncIterator[bytes]:
        place = self._cache.log(name)
        if place is None:
            return
        file, position = self._settings.store / place, 0
        while True:
            # First the status, then the rest of the file: what was written before the end is never missed.
            over = not follow or self._status(name).phase in {Phase.ABSENT, *_ENDED}
            while chunk := await asyncio.to_thread(logfile.read, file, position):
                position += len(chunk)
                yield chunk
            if over:
                return
            await asyncio.sleep(_LOOK_S)

    async def capacity(self) -> Capacity:
        if self._settings.capacity is not None:
            return self._settings.capacity
        found = await self._client.get("/api/v1/nodes")
        return capacity.total(found.get("items") or [], self._settings)

    def changes(self) -> AsyncIterator[WorkloadName]:
        return self._cache.changes()

    def told(self, queue: asyncio.Queue[WorkloadName]) -> AbstractContextManager[None]:
        """The same into a queue that several may fill."""
        return self._cache.told(queue)

    async def address(self, name: WorkloadName, port: int) -> tuple[str, int]:
        pod = self._cache.pod(name)
        if pod is None or not pod.address:
            raise BackendError(f"{name} has no address yet")
        return (pod.address, port)

    async def launched(self, name: WorkloadName) -> Launched | None:
        """Read back with what a workload was started; None for one that is not there."""
        for path in (self._pods, self._jobs):
            with suppress(Gone):
                found = await self._client.get(f"{path}/{name}")
                hidden = await self._client.get(f"{self._secrets}/{name}")
                text = base64.b64decode((hidden.get("data") or {}).get(entry.SECRETS_FILE, "")).decode()
                return Launched(port=manifest.port_of(found), secrets=entry.secrets_of(text))
        return None

    async def pod(self, name: WorkloadName) -> manifest.Manifest:
        """Return the pod as the cluster has it. Raises `BackendError`."""
        pod = self._cache.pod(name)
        if pod is None:
            raise BackendError(f"{name} has no pod yet")
        return await self._client.get(f"{self._pods}/{pod.name}")

    def namespace_of(self, workload: Workload) -> str:
        """Return where it is, or would be put."""
        return self._settings.namespace

    @property
    def counted(self) -> frozenset[str]:
        """The resources that admission alone gives out."""
        return frozenset(cards.resource for cards in self._settings.cards.values())

    async def _ask(self, name: WorkloadName) -> None:
        """Look at one workload itself, whatever was heard of it."""
        with suppress(Gone):
            self._cache.put_job(await self._client.get(f"{self._jobs}/{name}"))
        found = await self._client.get(self._pods, {"labelSelector": labels.selector(self._settings.platform, name)})
        for pod in found.get("items") or ():
            self._cache.put_pod(pod)

    async def _ask_why(self, name: WorkloadName) -> None:
        """Find out what keeps a pod on a node from its beginning: of volumes and networks only events tell."""
        pod = self._cache.pod(name)
        due = slow_at(pod) if pod else None
        if pod is None or due is None or due > datetime.now(UTC):
            return
        path = f"/api/v1/namespaces/{self._settings.namespace}/events"
        found = await self._client.get(path, {"fieldSelector": f"involvedObject.uid={pod.uid},type=Warning"})
        self._cache.hinder(name, pod.uid, last_complaint(found.get("items") or ()))

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._settings.namespace}/jobs"

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._settings.namespace}/pods"

    @property
    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{self._settings.namespace}/secrets"

    def _status(self, name: WorkloadName) -> WorkloadStatus:
        job, pod = self._cache.job(name), self._cache.pod(name)
        return status(job, pod, patience_s=self._settings.image_patience_s, now=datetime.now(UTC))

    def _image(self, asked: str) -> str:
        known = self._settings.images
        if asked in known or not asked:
            return known[asked or "default"]
        if any(fnmatch.fnmatchcase(asked, pattern) for pattern in self._settings.allowed_images):
            return asked
        raise UnknownImage(f"no image {asked!r} here; there are: {', '.join(sorted(known))}")

    async def _create(self, path: str, body: manifest.Manifest) -> dict[str, Any]:
        """Create it; one that is there already is fine if it is ours. Raises `CannotStart` for what will never be."""
        try:
            return await self._client.create(path, body)
        except ApiError as error:
            if error.status == 409:
                return await self._ours(path, body)
            if error.status in {400, 403, 404, 422} and USED_UP not in error.message:
                raise CannotStart(error.message) from error
            raise

    async def _begin(self, job: manifest.Manifest, *, alone: bool) -> None:
        """Create the Job, or its pod alone: unless that has to wait for its share, which Jobs can do."""
        if alone:
            try:
                pod = await self._create(self._pods, manifest.alone(job))
            except ApiError as error:
                if USED_UP not in error.message:
                    raise
            else:
                if "deletionTimestamp" in pod["metadata"]:
                    raise BackendError(f"{pod['metadata']['name']} is still being removed")
                self._cache.put_pod(pod)
                return
        self._cache.put_job(await self._create(self._jobs, job))

    async def _hide(self, name: WorkloadName, one: manifest.Manifest) -> None:
        """Create a secret of a workload that is there. One that an earlier start left takes the values of this one."""
        owner = self._cache.owner(name)
        if owner is None:
            return  # it is over already
        wanted = {**one, "metadata": {**one["metadata"], "ownerReferences": [owner]}}
        made = await self._create(self._secrets, wanted)
        if owner not in made["metadata"].get("ownerReferences", ()):
            change = {"metadata": {"ownerReferences": [owner]}, "stringData": one["stringData"]}
            await self._client.merge(f"{self._secrets}/{one['metadata']['name']}", change)

    async def _remove(self, name: WorkloadName) -> None:
        """Let nothing of it be left; its secrets the cluster removes with their owner."""
        job, pod = self._cache.job(name), self._cache.pod(name)
        if job is not None or pod is None or not pod.alone:
            await self._client.delete(f"{self._jobs}/{name}", {"propagationPolicy": "Background"})
        if pod is not None and (pod.alone or not pod.over):
            await self._client.delete(f"{self._pods}/{pod.name}", {"gracePeriodSeconds": 1})
        self._cache.forget(name)

    async def _ours(self, path: str, body: manifest.Manifest) -> dict[str, Any]:
        name, ours = body["metadata"]["name"], body["metadata"]["labels"]
        found = await self._client.get(f"{path}/{name}")
        theirs = found["metadata"].get("labels", {})
        if all(theirs.get(key) == ours[key] for key in (labels.PLATFORM, labels.WORKLOAD)):
            return found
        raise CannotStart(f"{body['kind']} {name} in {self._settings.namespace} belongs to somebody else")

    async def _end_pod(self, pod: SeenPod, grace_s: float) -> None:
        if not pod.stopped and not pod.ending:
            # Kept until it was read: else the exit code would go with the pod.
            note = {"annotations": {labels.STOPPED: "yes"}, "finalizers": [labels.KEPT]}
            try:
                self._cache.put_pod(await self._client.merge(f"{self._pods}/{pod.name}", {"metadata": note}))
            except Gone:
                return
        await self._client.delete(f"{self._pods}/{pod.name}", {"gracePeriodSeconds": manifest.grace(grace_s)})

    async def _release(self, pod: SeenPod) -> None:
        try:
            await self._client.merge(
                f"{self._pods}/{pod.name}", {"metadata": {"$deleteFromPrimitiveList/finalizers": [labels.KEPT]}}
            )
        except Gone:
            return

    def _open_log(self, workload: Workload) -> None:
        """Make the log before the pod mounts it."""
        log = self._settings.store / workload.log.text
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = logfile.create(log)
        try:
            if self._settings.who_is(workload.tenant) is not Who.ACCOUNT:
                os.fchmod(descriptor, 0o660)
            if os.geteuid() == 0:
                os.fchown(descriptor, *self._settings.user)
        finally:
            os.close(descriptor)
