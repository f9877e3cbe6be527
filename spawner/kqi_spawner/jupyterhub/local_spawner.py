"""The Spawner of the local engine: a server is a process that listens on a loopback port."""

import asyncio
import socket
from pathlib import Path

from traitlets import Unicode

from kqi_spawner.jupyterhub.launch_context import LaunchContext, LaunchContexts
from kqi_spawner.jupyterhub.run_server import RunServer
from kqi_spawner.names import WorkloadName

_HOST = "127.0.0.1"
_KNOCK_S = 0.1


class KqiLocalSpawner(RunServer):
    """Runs a person's server as a workload of the local engine; what and with which inputs is the api's decision."""

    contexts_folder = Unicode(help="Folder of the hub's own for what an interrupted start must find again").tag(
        config=True
    )

    @property
    def contexts(self) -> LaunchContexts:
        return LaunchContexts(Path(self.contexts_folder))

    @property
    def listens_on(self) -> str:
        return _HOST

    async def place(self, asked: WorkloadName) -> int:
        port = _free_port()
        # Before it begins: whatever runs must be found again.
        self.contexts.keep(asked, LaunchContext(port=port, api_token=self.api_token))
        return port

    async def kept(self, name: WorkloadName) -> LaunchContext | None:
        return self.contexts.of(name)

    def let_go(self, name: WorkloadName) -> None:
        self.contexts.forget(name)

    async def up(self, name: WorkloadName) -> tuple[str, int]:
        """Wait until it listens, up to start_timeout, which the hub itself bounds."""
        while True:
            try:
                _, writer = await asyncio.open_connection(_HOST, self.server_port)
            except OSError:
                await asyncio.sleep(_KNOCK_S)
            else:
                writer.close()
                return _HOST, self.server_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
