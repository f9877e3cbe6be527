"""What was last heard of our Jobs and pods, and who wants to know when that changes."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from kqi_spawner.errors import BackendError
from kqi_spawner.kubernetes import labels
from kqi_spawner.kubernetes.client import Client
from kqi_spawner.kubernetes.observe import (
    SeenJob,
    SeenPod,
    failing,
    gives_up_at,
    job_given_up_at,
    refusal,
    seen_job,
    seen_pod,
    slow_at,
)
from kqi_spawner.kubernetes.settings import KubernetesSettings
from kqi_spawner.kubernetes.watch import Following, follow
from kqi_spawner.names import WorkloadName, checked_name

_READY_S = 60.0
_PAST = 256  # who does not forget them needs them for a moment only


class Cache:
    """Kept up to date by three watches; belongs to one event loop."""

    def __init__(self, settings: KubernetesSettings, client: Client) -> None:
        self._settings, self._client = settings, client
        self._jobs: dict[WorkloadName, SeenJob] = {}
        self._pods: dict[WorkloadName, SeenPod] = {}
        self._whole: set[WorkloadName] = set()
        # Ends of pods that were removed before anybody had read how they ended; no Job remembers them.
        self._past: OrderedDict[WorkloadName, SeenPod] = OrderedDict()
        # Of what was forgotten: late news of it is no news.
        self._dead: set[str] = set()
        # Why Jobs got no pod so far, with the time when that was first heard.
        self._refused: dict[str, tuple[str, datetime]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: dict[WorkloadName, asyncio.TimerHandle] = {}
        self._readers: set[asyncio.Queue[WorkloadName]] = set()

    async def open(self) -> None:
        """Start the watches and wait for the first lists. Raises `BackendError`; `close` is due all the same."""
        space, selector = self._settings.namespace, labels.selector(self._settings.platform)
        jobs = Following(
            path=f"/apis/batch/v1/namespaces/{space}/jobs",
            selector=selector,
            replace=self._replace_jobs,
            put=self.put_job,
            drop=partial(self._drop, self._jobs),
        )
        pods = Following(
            path=f"/api/v1/namespaces/{space}/pods",
            selector=selector,
            replace=self._replace_pods,
            put=self.put_pod,
            drop=self._drop_pod,
        )
        refusals = Following(
            path=f"/api/v1/namespaces/{space}/events",
            fields=labels.NO_POD,
            replace=self._replace_refusals,
            put=self._put_refusal,
            drop=self._drop_refusal,
        )
        ready = [asyncio.Event() for _ in range(3)]
        for what, event in zip((jobs, pods, refusals), ready, strict=True):
            self._tasks.append(asyncio.create_task(follow(self._client, what, event), name=f"watch {what.path}"))
        try:
            async with asyncio.timeout(_READY_S):
                for event in ready:
                    await event.wait()
        except TimeoutError as error:
            raise BackendError(f"no list of {space} within {_READY_S:.0f} s") from error

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def knows(self, name: WorkloadName) -> bool:
        return name in self._jobs or self.pod(name) is not None

    def is_whole(self, name: WorkloadName) -> bool:
        """Whether it was noted that nothing of it is missing."""
        return name in self._whole

    def note_whole(self, name: WorkloadName) -> None:
        if self.knows(name):
            self._whole.add(name)

    def job(self, name: WorkloadName) -> SeenJob | None:
        job, (why, since) = self._jobs.get(name), self._refused.get(name, ("", None))
        return replace(job, refused=why, refused_at=since) if job and why else job

    def pod(self, name: WorkloadName) -> SeenPod | None:
        return self._pods.get(name) or self._past.get(name)

    def log(self, name: WorkloadName) -> str | None:
        """Return where in the store its output is; None for one that is not known."""
        job, pod = self._jobs.get(name), self.pod(name)
        return (job.log if job else pod.log if pod else "") or None

    def owner(self, name: WorkloadName) -> dict[str, str] | None:
        """Return the reference by which what belongs to it goes with it."""
        if job := self._jobs.get(name):
            return {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.uid}
        pod = self._pods.get(name)
        return {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid} if pod else None

    def put_job(self, found: dict[str, Any]) -> None:
        name, job = labels.name_of(found), seen_job(found)
        if name is not None and job.uid not in self._dead:
            known = self._jobs.get(name)
            # The answer to a request and the watch race: the older one of the two is dropped.
            if known is None or known.uid != job.uid or known.version <= job.version:
                self._jobs[name] = job
                if known is None or replace(known, version=job.version) != job:  # else nothing that is looked at
                    self._announce(name)

    def put_pod(self, found: dict[str, Any]) -> None:
        name, pod = labels.name_of(found), seen_pod(found)
        if name is None or pod.uid in self._dead:
            return
        known = self._pods.get(name)
        if known is not None and known.uid == pod.uid and known.version > pod.version:
            return
        if failing(pod):
            still = known is not None and known.uid == pod.uid and known.failing_at is not None
            pod = replace(pod, failing_at=known.failing_at if known and still else datetime.now(UTC))
        if known is not None and known.uid == pod.uid:
            pod = replace(pod, hindered=known.hindered, asked_at=known.asked_at)
        self._pods[name] = pod
        self._wait_until(name, gives_up_at(pod, self._settings.image_patience_s) or slow_at(pod))
        if known is None or replace(known, version=pod.version) != pod:
            self._announce(name)

    def hinder(self, name: WorkloadName, uid: str, why: str) -> None:
        """Note what keeps a pod from its beginning; it is asked for again after a while."""
        pod = self._pods.get(name)
        if pod is not None and pod.uid == uid:
            self._pods[name] = pod = replace(pod, hindered=why, asked_at=datetime.now(UTC))
            self._wait_until(name, slow_at(pod))

    def forget(self, name: WorkloadName) -> None:
        for kind in (self._jobs, self._pods):
            gone = kind.pop(name, None)
            if gone is not None:
                self._dead.add(gone.uid)
        self._past.pop(name, None)
        self._whole.discard(name)
        self._refused.pop(name, None)
        self._announce(name)

    async def changes(self) -> AsyncIterator[WorkloadName]:
        queue: asyncio.Queue[WorkloadName] = asyncio.Queue()
        with self.told(queue):
            while True:
                yield await queue.get()

    @contextmanager
    def told(self, queue: asyncio.Queue[WorkloadName]) -> Iterator[None]:
        """Put every name that is to be looked at into the queue."""
        self._readers.add(queue)
        try:
            yield
        finally:
            self._readers.discard(queue)

    def _replace_jobs(self, found: list[dict[str, Any]], version: int) -> None:
        self._drop_missing(self._jobs, found, version)
        for one in found:
            self.put_job(one)

    def _replace_pods(self, found: list[dict[str, Any]], version: int) -> None:
        self._drop_missing(self._pods, found, version)
        for one in found:
            self.put_pod(one)

    def _drop_missing(
        self,
        known: "dict[WorkloadName, SeenJob] | dict[WorkloadName, SeenPod]",
        found: list[dict[str, Any]],
        version: int,
    ) -> None:
        left = {name for one in found if (name := labels.name_of(one))}
        for name in known.keys() - left:
            if known[name].version <= version:  # else it was made after the list
                self._lose(known, name)

    def _drop(self, known: "dict[WorkloadName, SeenJob] | dict[WorkloadName, SeenPod]", found: dict[str, Any]) -> None:
        name, uid = labels.name_of(found), found["metadata"]["uid"]
        self._dead.discard(uid)
        if name is not None and (seen := known.get(name)) and seen.uid == uid:
            self._lose(known, name)

    def _lose(self, known: "dict[WorkloadName, SeenJob] | dict[WorkloadName, SeenPod]", name: WorkloadName) -> None:
        del known[name]
        self._whole.discard(name)
        self._announce(name)

    def _drop_pod(self, found: dict[str, Any]) -> None:
        name, pod = labels.name_of(found), seen_pod(found)
        ended = pod.over or pod.exit_code is not None
        if name is not None and pod.alone and ended and pod.uid not in self._dead:
            self._past[name] = pod
            while len(self._past) > _PAST:
                self._past.popitem(last=False)
        self._drop(self._pods, found)

    def _replace_refusals(self, found: list[dict[str, Any]], _version: int) -> None:
        left = {refusal(event)[0] for event in found}
        for name in self._refused.keys() - left:
            del self._refused[name]
        for event in found:
            self._put_refusal(event)

    def _put_refusal(self, event: dict[str, Any]) -> None:
        text, why = refusal(event)
        self._refused[text] = (why, self._refused.get(text, ("", datetime.now(UTC)))[1])
        with suppress(ValueError):
            name = checked_name(text)
            job = self.job(name)
            if job is not None and name not in self._pods:
                self._wait_until(name, job_given_up_at(job, self._settings.image_patience_s))
                self._announce(name)

    def _drop_refusal(self, event: dict[str, Any]) -> None:
        self._refused.pop(refusal(event)[0], None)

    def _wait_until(self, name: WorkloadName, until: datetime | None) -> None:
        """Ring when what cannot come to be is given up: no event tells that."""
        if timer := self._timers.pop(name, None):
            timer.cancel()
        if until is not None:
            wait_s = max(0.0, (until - datetime.now(UTC)).total_seconds())
            self._timers[name] = asyncio.get_running_loop().call_later(wait_s + 0.01, self._announce, name)

    def _announce(self, name: WorkloadName) -> None:
        for queue in self._readers:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(name)
