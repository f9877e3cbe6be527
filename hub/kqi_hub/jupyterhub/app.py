"""The hub's process: `python -m kqi_hub.jupyterhub.app -f FILE`."""

from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.spawner import Spawner
from traitlets import HasTraits, default

from kqi_hub.interpreter import settle


class Hub(JupyterHub):  # type: ignore[misc]
    """JupyterHub, which to list them in its help would load the classes of every package that offers some."""

    @default("classes")
    def _load_classes(self) -> list[type[HasTraits]]:
        return [Spawner, Authenticator]

    async def start(self) -> None:
        await super().start()
        settle()


if __name__ == "__main__":
    Hub.launch_instance()
