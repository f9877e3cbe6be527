"""SDK and command line of KQI Hub (`import kqi`), and the wire models that hub and clients share."""

from kqi.client import AsyncClient, Client, Progress, RunFilter
from kqi.client.errors import KqiError

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "KqiError", "Progress", "RunFilter", "__version__"]
