"""The kinds of things that have an owner and can be shared, and where their rows are."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from kqi_hub.data import store as data_store
from kqi_hub.data.store import DataRow
from kqi_hub.datasets import store as dataset_store
from kqi_hub.datasets.store import DatasetRow
from kqi_hub.db.scope import Scope, Thing
from kqi_hub.identity.policy import Permission
from kqi_hub.runs import store as run_store
from kqi_hub.runs.model import Kind
from kqi_hub.runs.rows import RunRow


@dataclass(frozen=True, slots=True)
class Found:
    """A thing: `key` is the id by which it is shared, `shown` what people call it."""

    row: Thing
    kind: str
    key: int
    shown: str


Find = Callable[[Scope, int], Awaitable[Found]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shareable:
    plural: str
    see: Permission
    change: Permission
    find: Find


async def _data(scope: Scope, number: int) -> Found:
    row: DataRow = await data_store.row(scope, number)
    return Found(row, "data", row.id, f"data/{row.id}")


async def _dataset(scope: Scope, number: int) -> Found:
    row: DatasetRow = await dataset_store.row(scope, number)
    return Found(row, "dataset", row.id, f"dataset/{row.id}")


def _run(kind: Kind) -> Find:
    async def find(scope: Scope, number: int) -> Found:
        row: RunRow = await run_store.row(scope, kind, number)
        return Found(row, "run", row.key, f"{kind.value}/{number}")

    return find


_P = Permission
TABLE: Mapping[str, Shareable] = {
    "data": Shareable(plural="data", see=_P.DATA_READ, change=_P.DATA_WRITE, find=_data),
    "dataset": Shareable(plural="datasets", see=_P.DATASET_READ, change=_P.DATASET_WRITE, find=_dataset),
    "training": Shareable(plural="trainings", see=_P.RUN_READ, change=_P.RUN_CONTROL, find=_run(Kind.TRAINING)),
    "notebook": Shareable(plural="notebooks", see=_P.RUN_READ, change=_P.RUN_CONTROL, find=_run(Kind.NOTEBOOK)),
}
