"""The typed SDK: each operation is written once and serves `Client` and `AsyncClient`."""

from kqi.client.client import AsyncClient, Client
from kqi.client.progress import Progress
from kqi.client.runs import RunFilter

__all__ = ["AsyncClient", "Client", "Progress", "RunFilter"]
