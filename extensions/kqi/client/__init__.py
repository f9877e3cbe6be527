"""The typed SDK: each operation is written once and serves `Client` and `AsyncClient`."""

from kqi.client.client import AsyncClient, Client
from kqi.client.filters import DataFilter, Filter, RunFilter
from kqi.client.local_files import Taking
from kqi.client.progress import Progress

__all__ = ["AsyncClient", "Client", "DataFilter", "Filter", "Progress", "RunFilter", "Taking"]
