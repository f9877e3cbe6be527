"""The Spawner of the local engine: asks the api what to start, and starts it as any other workload."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from jupyterhub.spawner import Spawner, SpawnException
from traitlets import Any as AnyTrait
from traitlets import Unicode

from kqi_spawner import wire
from kqi_spawner.backend import ExecutionBackend
from kqi_spawner.errors import BackendError
from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.status import Phase, WorkloadStatus
from kqi_spawner.workload import Secret, Workload

# What the hub gives a server and nobody else should see.
_SECRETS = {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"}
_PORT = "KQI_SERVER_PORT"
_LOOK_S = 0.2


class KqiLocalSpawner(Spawner):  # type: ignore[misc]
    """Runs a person's server as a workload of the local engine; what and with which inputs is the api's decision."""

    open_backend: Any = AnyTrait(help="Opens the engine").tag(config=True)
    api_url = Unicode(help="Address of the api, `/api/v1` included").tag(config=True)
    api_token_file = Unicode(help="File that holds the service token").tag(config=True)

    _opened: ClassVar[dict[int, asyncio.Task[ExecutionBackend]]] = {}

    workload: str = ""
    server_port: int = 0

    async def backend(self) -> ExecutionBackend:
        """Return the one engine of this event loop."""
        loop = id(asyncio.get_running_loop())
        if loop not in self._opened:
            self._opened[loop] = asyncio.ensure_future(self.open_backend())
        return await self._opened[loop]

    async def start(self) -> tuple[str, int]:
        answer = await self._ask()
        if answer["state"] != "ready":
            raise SpawnException(answer["detail"], reason="queued", status_code=409)
        asked = wire.from_json(answer["workload"])
        backend = await self.backend()
        self.workload = asked.name
        status = (await backend.observe([asked.name]))[asked.name]
        if status.phase is Phase.RUNNING and self.server_port:
            return "127.0.0.1", self.server_port
        self.server_port = _free_port()
        try:
            await backend.start(self._with_server(asked))
        except BackendError as error:
            raise SpawnException(str(error), reason="cannot_start") from error
        await self._running(backend, asked.name)
        return "127.0.0.1", self.server_port

    async def poll(self) -> int | None:
        if not self.workload:
            return 0
        try:
            status = await self._status()
        except BackendError:
            return None  # not to know is no reason to end somebody's work
        if status.phase in {Phase.RUNNING, Phase.PENDING}:
            return None
        return status.exit_code if status.exit_code is not None else 1

    async def stop(self, now: bool = False) -> None:
        if not self.workload:
            return
        backend = await self.backend()
        name = checked_name(self.workload)
        await backend.stop(name, grace_s=0 if now else 10)
        async with asyncio.timeout(30):
            while (await self._status()).phase in {Phase.RUNNING, Phase.PENDING}:  # noqa: ASYNC110 - another has the changes
                await asyncio.sleep(_LOOK_S)

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "workload": self.workload, "server_port": self.server_port}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.workload = state.get("workload", "")
        self.server_port = state.get("server_port", 0)

    def clear_state(self) -> None:
        super().clear_state()
        self.workload, self.server_port = "", 0

    async def delete_forever(self) -> None:
        """Homes are never deleted by the hub."""

    async def _ask(self) -> dict[str, Any]:
        token = Path(self.api_token_file).read_text("utf-8").strip()
        body = {"person": self.user.name, "server": self.name, "run": self.user_options.get("run")}
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=240)) as session:
                place = f"{self.api_url}/internal/launch"
                async with session.post(place, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
                    found: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status != 200:
                        raise SpawnException(str(found.get("detail", answer.reason)), reason="refused")
                    return found
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise SpawnException("The platform's API does not answer; try again shortly.", reason="api_away") from error

    def _with_server(self, asked: Workload) -> Workload:
        own = {name: str(value) for name, value in self.get_env().items() if name.startswith(("JUPYTERHUB_", "JPY_"))}
        environment = {name: value for name, value in own.items() if name not in _SECRETS}
        secrets = {name: Secret(value) for name, value in own.items() if name in _SECRETS}
        arguments = (
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.server_port}",
            "--ServerApp.port_retries=0",
            "--ContentsManager.allow_hidden=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        )
        return replace(
            asked,
            command=(*asked.command, *arguments),
            environment={**asked.environment, **environment, _PORT: str(self.server_port)},
            secrets={**asked.secrets, **secrets},
            port=self.server_port,
        )

    async def _running(self, backend: ExecutionBackend, name: WorkloadName) -> None:
        """Return when it runs; say why if it ended instead. The hub waits for its first answer itself."""
        while (status := await self._status()).phase is not Phase.RUNNING:
            if status.phase in {Phase.EXITED, Phase.LOST, Phase.ABSENT}:
                raise SpawnException(status.message or f"The server ended at once: {status.phase}", reason="ended")
            await asyncio.sleep(_LOOK_S / 10)

    async def _status(self) -> WorkloadStatus:
        name = checked_name(self.workload)
        return (await (await self.backend()).observe([name]))[name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
