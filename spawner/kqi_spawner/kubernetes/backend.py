"""The Kubernetes engine behind the seam: a run is a Job, and the cluster remembers what became of it."""

import asyncio
import base64
import fnmatch
import logging
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
from kqi_spawner.kubernetes.observe import SeenPod, last_complaint, slow_at, status
from kqi_spawner.kubernetes.overlay import Shape
from kqi_spawner.kubernetes.settings import KubernetesSettings, Who
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, Phase, WorkloadStatus
from kqi_spawner.workload import Secret, Workload

log = logging.getLogger(__name__)
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
        if self._cache.knows(workload.name):
            return
        image = self._image(workload.image)
        job = manifest.job(workload, image, self._settings)
        if shape is not None:
            job["spec"]["template"] = shape(job["spec"]["template"])
        own = (manifest.secret(workload, self._settings), manifest.pull_secret(workload, image, self._settings))
        hidden = [one for one in own if one is not None]
        await asyncio.to_thread(self._open_log, workload)
        for one in hidden:
            await self._hide(workload.name, one)
        try:
            made = await self._create(self._jobs, job)
        except CannotStart:
            await self._delete_secrets(workload.name)
            raise
        self._cache.put_job(made)
        for one in hidden:
            await self._tie(one["metadata"]["name"], made)

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
            # A crash between the two can have left this.
            await self._delete_secrets(name)
            return
        if seen.phase not in _ENDED:
            raise BackendError(f"{name} has not ended ({seen.phase.value})")
        pod = self._cache.pod(name)
        if pod is not None and pod.kept:
            await self._release(pod)
        await self._client.delete(f"{self._jobs}/{name}", {"propagationPolicy": "Background"})
        await self._delete_secrets(name)
        if pod is not None and not pod.over:
            await self._client.delete(f"{self._pods}/{pod.name}", {"gracePeriodSeconds": 1})
        self._cache.forget(name)

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
        try:
            job = await self._client.get(f"{self._jobs}/{name}")
            hidden = await self._client.get(f"{self._secrets}/{name}")
        except Gone:
            return None
        text = base64.b64decode((hidden.get("data") or {}).get(entry.SECRETS_FILE, "")).decode()
        return Launched(port=manifest.port_of(job), secrets=entry.secrets_of(text))

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
                return await self._ours(path, body, labels.ours(self._settings.platform, body["metadata"]["name"]))
            if error.status in {400, 403, 404, 422} and "exceeded quota" not in error.message:
                raise CannotStart(error.message) from error
            raise

    async def _hide(self, name: WorkloadName, one: manifest.Manifest) -> None:
        """Create a secret. One that a start left, which then made no Job, takes the values of this start."""
        made = await self._create(self._secrets, one)
        wanted = {key: base64.b64encode(text.encode()).decode() for key, text in one["stringData"].items()}
        if made.get("data") == wanted:
            return
        try:
            await self._client.get(f"{self._jobs}/{name}")
        except Gone:
            await self._client.merge(f"{self._secrets}/{one['metadata']['name']}", {"stringData": one["stringData"]})

    async def _delete_secrets(self, name: WorkloadName) -> None:
        for one in (name, manifest.pull_name(name)):
            await self._client.delete(f"{self._secrets}/{one}")

    async def _tie(self, name: str, job: manifest.Manifest) -> None:
        """Whoever removes the Job, its secrets go with it. It runs already: a fault here is none of the start."""
        try:
            await self._client.merge(f"{self._secrets}/{name}", manifest.owned_by(job))
        except BackendError as error:
            log.warning("secrets were not tied to their workload", extra={"secret": name, "cause": str(error)[:200]})

    async def _ours(self, path: str, body: manifest.Manifest, known_by: Mapping[str, str]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        found = await self._client.get(f"{path}/{name}")
        if found["metadata"].get("labels", {}).items() >= known_by.items():
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
