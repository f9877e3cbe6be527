"""The hub's process: `python -m kqi_hub.jupyterhub.app -f FILE`."""

import logging

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

    async def init_role_creation(self) -> None:
        self.log.addFilter(_is_news)
        await super().init_role_creation()
        self.log.removeFilter(_is_news)

    async def start(self) -> None:
        await super().start()
        settle()


def _is_news(record: logging.LogRecord) -> bool:
    """The hub warns at every start of a role for people that leaves out anything, which ours does on purpose."""
    return "which does not include 'self'" not in record.getMessage()


if __name__ == "__main__":
    Hub.launch_instance()
