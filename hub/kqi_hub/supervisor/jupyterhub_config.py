"""The configuration file that the hub loads, when it has loaded itself; everything is in `configure`."""

from kqi_hub.engine import open_backend
from kqi_hub.jupyterhub.config import configure
from kqi_hub.runtime import Runtime
from kqi_hub.settings import load
from kqi_hub.supervisor.gate import wait_at_gate

wait_at_gate()
settings = load()
configure(get_config(), settings, Runtime.load(settings), lambda: open_backend(settings))  # type: ignore[name-defined]  # noqa: F821
