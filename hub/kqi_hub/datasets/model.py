"""Datasets as features above see them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kqi_spawner.workload import StorePath

FLAT = ""  # the split of a flat dataset


class Layout(StrEnum):
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    key: int
    dataset: int
    number: int
    entries: Mapping[str, Sequence[int]]  # split → ids of data, in order; FLAT alone for a flat one
    files: int
    size: int
    state: Layout
    message: str
    frozen: bool
    created_at: datetime

    @property
    def flat(self) -> bool:
        return FLAT in self.entries

    @property
    def place(self) -> StorePath:
        """Where the version's tree lies in the store."""
        return place(self.dataset, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    id: int
    tenant: str
    name: str
    memo: str
    flat: bool
    version: Version
    created_by: str
    created_at: datetime
    changed_at: datetime


def place(dataset: int, number: int) -> StorePath:
    return StorePath(f"datasets/{dataset}/{number}")
