"""The Spawner of a cluster: a server is a run like every other; without an api it is KubeSpawner, repaired."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from jupyterhub.utils import maybe_future
from traitlets import Bool, Float, default

from kqi_spawner.errors import BackendError, CannotStart
from kqi_spawner.jupyterhub.kube_repairs import RepairedKubeSpawner
from kqi_spawner.jupyterhub.launch_context import LaunchContext
from kqi_spawner.jupyterhub.run_server import TOKEN, RunServer
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.overlay import Rules, laid_over
from kqi_spawner.kubernetes.spaces import Spaces
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase, Waiting, WorkloadStatus
from kqi_spawner.workload import Workload

log = logging.getLogger(__name__)
_KNOCK_S = 0.2
_KNOCK = aiohttp.ClientTimeout(total=5)
_ONCE = {"Connection": "close"}
# What a service mesh answers for a server that does not listen yet.
_NOT_YET = {502, 503, 504}
_WAITS_FOR_OTHERS = {Waiting.ROOM, Waiting.SHARE}
# With an api the hub's own clock must not run out while a server waits for room.
_WEEK_S = 7 * 24 * 3600


class KqiKubeSpawner(RunServer, RepairedKubeSpawner):
    """Runs a person's server on the Kubernetes engine, under whatever KubeSpawner's traits say of its pod."""

    startup_timeout = Float(
        None,
        allow_none=True,
        help="Seconds from the start of a server's container until it must answer; waiting does not count. "
        "Unless set it is a configured start_timeout, else 300",
    ).tag(config=True)
    capacity_timeout = Float(
        0.0, help="Seconds that a server may wait for room in the cluster; 0: until there is some"
    ).tag(config=True)
    weaker_security = Bool(
        False, help="Let security settings of KubeSpawner's traits weaken Pod Security 'restricted' for servers"
    ).tag(config=True)

    @default("start_timeout")
    def _start_timeout_default(self) -> int:
        return _WEEK_S if self.api_url else 60

    start_timeout: int
    _answers_within: float = 300.0

    @property
    def listens_on(self) -> str:
        return str(self.ip)

    def start(self) -> Any:
        if not self.api_url:
            return RepairedKubeSpawner.start(self)
        if self.start_timeout < _WEEK_S:
            # Of a configuration that knows one clock only; the hub reads it once this has returned.
            self._answers_within, self.start_timeout = float(self.start_timeout), _WEEK_S
        return super().start()

    async def poll(self) -> int | None:
        if not self.api_url:
            return await RepairedKubeSpawner.poll(self)
        return await super().poll()

    async def stop(self, now: bool = False) -> None:
        if not self.api_url:
            await RepairedKubeSpawner.stop(self, now)
        else:
            await super().stop(now)

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        told: AsyncGenerator[dict[str, Any], None]
        told = super().progress() if self.api_url else RepairedKubeSpawner.progress(self)
        async with contextlib.aclosing(told) as events:
            async for event in events:
                yield event

    async def delete_forever(self) -> None:
        if not self.api_url:
            await RepairedKubeSpawner.delete_forever(self)

    async def place(self, asked: WorkloadName) -> int:
        # Each has an address of its own. Its token is in its Secret, where the next hub reads it.
        return int(self.port)

    async def kept(self, name: WorkloadName) -> LaunchContext | None:
        launched = await (await self._backend()).launched(name)
        token = launched.secrets.get(TOKEN) if launched else None
        if launched is None or launched.port is None or token is None:
            return None
        return LaunchContext(port=launched.port, api_token=token.reveal())

    def half_begun(self, status: WorkloadStatus) -> bool:
        return status.phase is Phase.PENDING  # it waits for the Secret that it was to be given next

    async def begin(self, workload: Workload) -> None:
        if self.internal_ssl:
            raise CannotStart("internal_ssl is not for servers that are runs: use a NetworkPolicy")
        backend = await self._backend()
        if self.storage_pvc_ensure:
            self.namespace = backend.namespace_of(workload)
            await self.ensure_home()
        configured = await self._configured()
        rules = Rules(
            hidden=self.get_env().keys() - self.environment.keys(),
            counted=backend.counted,
            weaker_security=self.weaker_security,
        )
        await backend.start(workload, shape=lambda template: laid_over(template, configured, rules))

    async def up(self, name: WorkloadName) -> str | tuple[str, int]:
        await self._runs(name)
        backend = await self._backend()
        pod = await backend.pod(name) if self.get_pod_url or self.after_pod_created_hook else None
        if self.after_pod_created_hook:
            await maybe_future(self.after_pod_created_hook(self, pod))
        if self.get_pod_url:
            url = str(await maybe_future(self.get_pod_url(self, pod)))
        else:
            url = _url(*await backend.address(name, self.server_port))
        patience_s = self.startup_timeout if self.startup_timeout is not None else self._answers_within
        try:
            async with asyncio.timeout(patience_s):
                await _answers(self.engine.http, f"{url}{self.server.base_url if self.server else '/'}api")
        except TimeoutError as error:
            words = await self.last_words(name)
            seconds = round(patience_s)
            raise self.refusal("spawn.not_answering", "not_answering", seconds=seconds, message=words) from error
        return url

    async def _backend(self) -> KubernetesBackend | Spaces:
        backend = await self.engine.backend()
        if not isinstance(backend, KubernetesBackend | Spaces):
            raise BackendError(f"this Spawner is for Kubernetes, the engine is {type(backend).__name__}")
        return backend

    async def _configured(self) -> dict[str, Any]:
        """Return the pod that KubeSpawner would make, hooks and all."""
        pod = await self.get_pod_manifest()
        if self.modify_pod_hook:
            pod = await maybe_future(self.modify_pod_hook(self, pod)) or pod
        return dict(self.api.api_client.sanitize_for_serialization(pod))

    async def _runs(self, name: WorkloadName) -> None:
        """Wait until its container runs; only waiting for others has a clock, and only if an administrator wants it."""
        clock = asyncio.get_running_loop().time
        since: float | None = None
        async with contextlib.aclosing(self.engine.statuses(name)) as statuses:
            async for status in statuses:
                if status.phase is Phase.RUNNING:
                    return
                waits = status.waiting in _WAITS_FOR_OTHERS
                since = (since if since is not None else clock()) if waits else None
                if since is not None and 0 < self.capacity_timeout <= clock() - since:
                    minutes = max(1, round(self.capacity_timeout / 60))
                    raise self.refusal("spawn.no_room_in_time", "no_room", minutes=minutes)


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"http://{shown}:{port}"


async def _answers(http: aiohttp.ClientSession, url: str) -> None:
    """Wait until somebody answers HTTP there, whatever the answer is. The caller bounds the time."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with http.get(url, allow_redirects=False, timeout=_KNOCK, headers=_ONCE) as answer:
                if answer.status not in _NOT_YET:
                    return
        await asyncio.sleep(_KNOCK_S)
