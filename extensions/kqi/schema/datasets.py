"""Datasets: data divided into splits (or flat), in versions that freeze when a run uses them."""

from datetime import datetime

from pydantic import Field

from kqi.schema.base import Id, Request, Text, Title, Wire


class Entries(Request):
    """Which data: `splits` of a typed dataset, or `flat`; exactly one of the two."""

    splits: dict[str, list[Id]] | None = None
    flat: list[Id] | None = None


class CreateDataset(Request):
    name: Title
    memo: Text = ""
    entries: Entries


class ChangeDataset(Request):
    name: Title | None = None
    memo: Text | None = None


class CopyDataset(Request):
    name: Title
    memo: Text | None = None


class DatasetVersion(Wire):
    number: int
    entries: Entries
    files: int
    bytes: int
    state: str  # pending, ready or failed: whether its tree is laid out
    message: str
    frozen: bool
    created_at: datetime


class Dataset(Wire):
    """A dataset with its current version."""

    id: int
    tenant: str
    name: str
    memo: str
    flat: bool
    frozen: bool
    version: DatasetVersion
    created_by: str
    created_at: datetime
    changed_at: datetime


class DatasetFile(Wire):
    """Where a file lies under `/kqi/input`, and what it is."""

    path: str
    data: int
    size: int
    sha256: str


class DatasetUse(Request):
    """A dataset as an input; without a version the current one."""

    id: Id
    version: int | None = Field(default=None, ge=1)
