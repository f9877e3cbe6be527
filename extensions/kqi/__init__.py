"""SDK and command line of KQI Hub (`import kqi`), and the wire models that hub and clients share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kqi.client import AsyncClient, Client, DataFilter, Filter, Progress, RunFilter, Taking
    from kqi.client.errors import KqiError

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "DataFilter",
    "Filter",
    "KqiError",
    "Progress",
    "RunFilter",
    "Taking",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Load the client when it is asked for: the hub needs the wire models alone, and starts so much sooner."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kqi import client  # noqa: PLC0415
    from kqi.client import errors  # noqa: PLC0415

    found: object = getattr(errors if name == "KqiError" else client, name)
    globals()[name] = found
    return found
