"""KubeSpawner without its known faults; otherwise as it is."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from jupyterhub.spawner import SpawnException
from jupyterhub.utils import exponential_backoff
from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner
from kubespawner.spawner import EventReflector
from sqlalchemy.orm import object_session
from traitlets import Float, default

from kqi_spawner.errors import CannotStart
from kqi_spawner.jupyterhub.kube_events import NewEvents
from kqi_spawner.jupyterhub.kube_verdicts import Fault, Pod, checked_options, exit_code, fault, words

log = logging.getLogger(__name__)
_LOOK_S = 0.5
# Of `start_timeout`: so much earlier than the hub, which would only say that it took too long, the Spawner says why.
_EARLIER = 0.1
_EARLIER_S = 10.0
_PERSON = "hub.jupyter.org/username"


class RepairedKubeSpawner(KubeSpawner):  # type: ignore[misc]
    """A dead watch is replaced, `poll` never guesses, a start that cannot come to be ends at once, homes are kept."""

    start_patience = Float(
        60.0, help="Seconds for which an image may fail to come, or a container to run, before a start is given up"
    ).tag(config=True)

    pvc_name: str
    _pvc_exists: bool
    _created: bool = False

    @default("delete_pvc")
    def _homes_are_kept(self) -> bool:
        """Only who says so by name loses the homes of people that are removed."""
        return False

    @default("db")
    def _own_session(self) -> Any:
        """KubeSpawner writes a new address by it; the hub's own attribute is about to go."""
        return object_session(self.orm_spawner)

    async def poll(self) -> int | None:
        """Return how it ended, None if it lives or nobody knows. An error here would make the hub forget it."""
        try:
            return await self._polled()
        except Exception as error:  # whatever it is, it is no news of the server
            log.warning("a server cannot be observed", exc_info=error)
            return None

    async def stop(self, now: bool = False) -> None:
        async with self._watched():
            await super().stop(now)

    async def ensure_home(self) -> None:
        """Make the volume that the traits give each person, unless it is there. Raises CannotStart."""
        if self._pvc_exists:
            return
        self.pvc_name = await self._legacy_home() or self.pvc_name
        asking = partial(self._make_create_pvc_request, self.get_pvc_manifest(), self.k8s_api_request_timeout)
        fault = f"the volume {self.pvc_name} cannot be made"
        try:
            await exponential_backoff(asking, fault, timeout=self.k8s_api_request_retry_timeout)
        except (ApiException, TimeoutError) as error:
            raise CannotStart(f"{fault}: {error}") from error
        self._pvc_exists = True

    async def delete_forever(self) -> None:
        if self.delete_pvc:
            self.pvc_name = await self._legacy_home() or self.pvc_name
        await super().delete_forever()

    async def _start_reflector(self, kind: str, reflector_class: Any, replace: bool = False, **kwargs: Any) -> Any:
        reflector = self.__class__.reflectors.get(self._get_reflector_key(kind))
        # One that still loads is left alone.
        if reflector is not None and reflector.first_load_future.done():
            task = reflector.watch_task
            replace = replace or task is None or task.done()
        own = NewEvents if reflector_class is EventReflector else reflector_class
        try:
            made = await super()._start_reflector(kind=kind, reflector_class=own, replace=replace, **kwargs)
        except SystemExit as error:
            raise RuntimeError(f"{kind} cannot be watched") from error
        # A watch that dies is replaced by who needs it next: no reason to end a hub.
        made.on_failure = None
        return made

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> bool:
        self._created = bool(await super()._make_create_pod_request(pod, request_timeout))
        return self._created

    async def _start(self) -> Any:
        clock = asyncio.get_running_loop().time
        ends = clock() + self.start_timeout - self._earlier / 2
        self._created = False
        starting = asyncio.ensure_future(super()._start())
        failing = asyncio.ensure_future(self._fails_to_start())
        try:
            async with self._watched():
                await asyncio.wait({starting, failing}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                return starting.result()
            starting.cancel()
            why = failing.result()
            # What is left when the hub's patience ends the hub itself stops.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(RepairedKubeSpawner.stop(self, now=True), max(0.1, ends - clock()))
            raise SpawnException(f"The server cannot be started: {why.text}", reason="cannot_start")
        finally:
            starting.cancel()
            failing.cancel()

    def _validate_user_options(self, profile_list: Any) -> None:
        checked_options(self.user_options, list(profile_list or ()))

    async def _polled(self) -> int | None:
        await self._start_watching_pods()
        cached = self._cached()
        pod = cached or await self._read()
        if pod is None:
            return 1
        code = exit_code(pod)
        if code is None:
            if cached and (cached["status"].get("containerStatuses")):
                await super().poll()  # where its address has changed, the hub is told
            return None
        if self.delete_stopped_pods:
            with contextlib.suppress(ApiException, TimeoutError, OSError):
                await super().stop(now=True)
        return code

    async def _fails_to_start(self) -> Fault:
        """Return why the start fails, once it does; faults that may pass share `start_patience`."""
        loop = asyncio.get_running_loop()
        begun = looked = loop.time()
        spent, seen = 0.0, False
        while True:
            await asyncio.sleep(_LOOK_S)
            now, since = loop.time(), looked
            looked = now
            pod = self._cached() if self._created else None  # else what goes by this name is of an earlier start
            if now - begun >= self.start_timeout - self._earlier:
                return Fault(text=f"it took more than {self.start_timeout} s: {words(pod)}", final=False)
            seen = seen or pod is not None
            found = fault(pod) if pod else Fault(text="it was removed", final=True) if await self._gone(seen) else None
            spent += now - since if found else 0
            if found and (found.final or spent >= self.start_patience):
                return found

    @property
    def _earlier(self) -> float:
        return float(min(_EARLIER_S, self.start_timeout * _EARLIER))

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Replace the watch also when it dies in the midst of what waits for it."""
        watching = asyncio.create_task(self._keep_watching())
        try:
            yield
        finally:
            watching.cancel()

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._start_watching_pods()
            except Exception as error:  # an outage passes, or the wait for it ends
                log.warning("pods cannot be watched", exc_info=error)

    async def _legacy_home(self) -> str | None:
        """Return the home's name in older versions where only that one is there; another person's may be called so."""
        older = str(self._expand_user_properties(self.pvc_name_template, slug_scheme="escape"))
        if not self.handle_legacy_names or self._pvc_exists or older == self.pvc_name:
            return None
        if await self._check_pvc_exists(self.pvc_name, self.namespace):
            return None
        try:
            claim = await self.api.read_namespaced_persistent_volume_claim(older, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return older if (claim.metadata.annotations or {}).get(_PERSON) == self.user.name else None

    async def _gone(self, seen: bool) -> bool:
        try:
            return seen and await self._read() is None
        except (ApiException, TimeoutError, OSError):
            return False

    def _cached(self) -> Pod | None:
        reflector = self.pod_reflector
        found: Pod | None = reflector.pods.get(f"{self.namespace}/{self.pod_name}") if reflector else None
        return found

    async def _read(self) -> Pod | None:
        """Ask the apiserver itself: the watch may lag. None for one that it does not know either."""
        try:
            answer = await self.api.read_namespaced_pod(
                self.pod_name, self.namespace, _preload_content=False, _request_timeout=self.k8s_api_request_timeout
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise ApiException(status=answer.status, reason=answer.reason)
        found: Pod = json.loads(await answer.read())
        return found
