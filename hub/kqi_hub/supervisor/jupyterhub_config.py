"""The configuration file that `jupyterhub -f` loads; everything is in `configure`."""

from kqi_hub.engine import open_backend
from kqi_hub.jupyterhub.config import configure
from kqi_hub.runtime import Runtime
from kqi_hub.settings import load

settings = load()
configure(get_config(), settings, Runtime.load(settings), lambda: open_backend(settings))  # type: ignore[name-defined]  # noqa: F821
