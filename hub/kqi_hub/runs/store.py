"""Queries on runs."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Row, String, cast, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi.schema import Phase, StopMode
from kqi_hub.clock import now
from kqi_hub.datasets.store import DatasetRow
from kqi_hub.db.base import kept
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import NotFound
from kqi_hub.identity.rows import PersonRow, TenantRow
from kqi_hub.identity.search import Made
from kqi_hub.ids import PersonId
from kqi_hub.runs.model import ACTIVE, EDGES, Kind, Run, Source, numbers_of
from kqi_hub.runs.rows import RunEventRow, RunParentRow, RunRow, RunTagRow, SequenceRow
from kqi_spawner.names import WorkloadName
from kqi_spawner.workload import Gpu

# A sign that no tag may hold.
_BETWEEN = "\x1f"
_IS_ACTIVE = RunRow.phase.in_([phase.value for phase in ACTIVE])
_parent = RunRow.__table__.alias("parent")
_PARENTS = (
    select(func.aggregate_strings(cast(_parent.c.number, String), _BETWEEN))
    .join(RunParentRow.__table__, RunParentRow.parent_key == _parent.c.key)
    .where(RunParentRow.run_key == RunRow.key)
    .correlate(RunRow.__table__)
    .scalar_subquery()
)
_TAGS = (
    select(func.aggregate_strings(RunTagRow.tag, _BETWEEN))
    .where(RunTagRow.run_key == RunRow.key)
    .correlate(RunRow.__table__)
    .scalar_subquery()
)
# Columns and no entities: a look at all that is at work is thousands of rows.
_RUNS = (
    select(
        *(getattr(RunRow, column.key) for column in RunRow.__table__.columns),
        *(TenantRow.name.label("tenant"), PersonRow.name.label("person")),
        *(_PARENTS.label("parents"), _TAGS.label("tags")),
    )
    .join(TenantRow, TenantRow.id == RunRow.tenant_id)
    .join(PersonRow, PersonRow.id == RunRow.created_by)
    .order_by(RunRow.key.desc())
)


class Search(Made):
    """`q` is looked for in title, name, memo and command."""

    phase: Phase | None = None
    tag: str | None = Field(default=None, max_length=100)
    dataset: int | None = Field(default=None, ge=1, le=2**53 - 1)
    parent: int | None = Field(default=None, ge=1, le=2**53 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    kind: Kind
    search: Search
    before: int | None = None  # key
    limit: int


async def next_number(scope: Scope, kind: Kind) -> int:
    """Take the next number of a kind; one that a rolled back transaction took is used again."""
    taken = update(SequenceRow).where(SequenceRow.kind == kind.value).values(last=SequenceRow.last + 1)
    number: int | None = await scope.scalar(taken.returning(SequenceRow.last))
    if number is None:
        await scope.add(SequenceRow(kind=kind.value, last=1))
        return 1
    return number


async def row(scope: Scope, kind: Kind, number: int) -> RunRow:
    query = select(RunRow).where(RunRow.kind == kind.value, RunRow.number == number)
    found = await scope.one_or_none(query)
    if found is None:
        raise NotFound(kind.value, number)
    return found


async def check_change(scope: TenantScope, kind: Kind, number: int) -> RunRow:
    """Return the row if the person may change it. Raises NotFound or Forbidden."""
    found = await row(scope, kind, number)
    await scope.check_change(found, "run", found.key, f"{kind.value}/{number}")
    return found


async def one(scope: Scope, kind: Kind, number: int) -> Run:
    found = await _runs(scope, (RunRow.kind == kind.value) & (RunRow.number == number))
    if not found:
        raise NotFound(kind.value, number)
    return found[0]


async def by_key(scope: Scope, key: int) -> Run | None:
    found = await _runs(scope, RunRow.key == key)
    return found[0] if found else None


async def several(scope: Scope, keys: Collection[int]) -> list[Run]:
    """Return runs, newest first."""
    return await _runs(scope, RunRow.key.in_(list(keys)))


async def at_work(scope: Scope, kind: Kind, person: PersonId) -> list[Run]:
    """Return the runs of a person that have not ended, newest first."""
    return await _runs(scope, (RunRow.kind == kind.value) & (RunRow.created_by == person) & _IS_ACTIVE)


async def busy(session: AsyncSession, tenant: int) -> int:
    """Return how many runs are at work in a tenant, or elsewhere with a dataset of it."""
    datasets = select(DatasetRow.id).where(DatasetRow.tenant_id == tenant)
    concerned = or_(RunRow.tenant_id == tenant, RunRow.dataset_id.in_(datasets))
    return (await session.execute(select(func.count()).select_from(RunRow).where(concerned, _IS_ACTIVE))).scalar_one()


async def active(scope: Scope) -> list[Run]:
    """Return every run that has not ended."""
    return await _runs(scope, _IS_ACTIVE)


async def active_of(scope: Scope, names: Collection[WorkloadName]) -> list[Run]:
    """Return the runs of these workloads that have not ended."""
    wanted = [numbers for name in names if (numbers := numbers_of(name))]
    return await _runs(scope, tuple_(RunRow.kind, RunRow.number, RunRow.attempt).in_(wanted) & _IS_ACTIVE)


async def page(scope: Scope, wanted: Filter) -> Sequence[int]:
    """Return up to `limit` keys, newest first."""
    search = wanted.search
    query = select(RunRow.key).where(RunRow.kind == wanted.kind.value).order_by(RunRow.key.desc()).limit(wanted.limit)
    query = query.where(
        *search.conditions(RunRow.created_by, RunRow.created_at, RunRow.title, RunRow.name, RunRow.memo, RunRow.command)
    )
    if wanted.before is not None:
        query = query.where(RunRow.key < wanted.before)
    if search.phase is not None:
        query = query.where(RunRow.phase == search.phase.value)
    if search.tag is not None:
        query = query.where(RunRow.key.in_(select(RunTagRow.run_key).where(RunTagRow.tag == search.tag)))
    if search.dataset is not None:
        query = query.where(RunRow.dataset_id == search.dataset)
    if search.parent is not None:
        parent = select(RunRow.key).where(RunRow.kind == Kind.TRAINING.value, RunRow.number == search.parent)
        query = query.where(RunRow.key.in_(select(RunParentRow.run_key).where(RunParentRow.parent_key.in_(parent))))
    return await scope.all(query)


async def move(
    scope: Scope,
    run: Run,
    to: Phase,
    *,
    reason: str | None = None,
    message: str = "",
    values: Mapping[str, object] | None = None,
) -> bool:
    """Set the phase and `values` if the phase is still that of `run`, else False. Records the event."""
    if to not in EDGES[run.phase]:
        raise AssertionError(f"{run.phase} -> {to}")
    moved = await _set(scope, run, {"phase": to.value, "reason": reason, **(values or {})}, message)
    if moved:
        note(scope, run.key, to, reason, message)
    return moved


async def say(scope: Scope, run: Run, message: str) -> None:
    """Set what is said of a run that stays in its phase. Records the event."""
    if await _set(scope, run, {}, message):
        note(scope, run.key, run.phase, None, message)


async def _set(scope: Scope, run: Run, values: Mapping[str, object], message: str) -> bool:
    """Set `values` and the message if the phase is still that of `run`; return whether it was."""
    statement = (
        update(RunRow)
        .where(RunRow.key == run.key, RunRow.phase == run.phase.value, RunRow.attempt == run.attempt)
        .values(message=kept(message[:2000]), **values)
        .execution_options(synchronize_session=False)
    )
    changed: int = (await scope.execute(statement)).rowcount  # type: ignore[attr-defined]
    return changed == 1


def note(scope: Scope, key: int, phase: Phase, reason: str | None = None, message: str = "") -> None:
    scope.put(RunEventRow(run_key=key, at=now(), phase=phase.value, reason=reason, message=kept(message[:2000])))


async def events(scope: Scope, key: int) -> Sequence[RunEventRow]:
    return await scope.all(select(RunEventRow).where(RunEventRow.run_key == key).order_by(RunEventRow.id))


async def children(scope: Scope, key: int) -> list[tuple[str, int]]:
    """Return kind and number of the runs that need this parent: trainings, and notebooks that show it now."""
    query = select(RunRow.kind, RunRow.number).join(RunParentRow, RunParentRow.run_key == RunRow.key)
    needed = or_(RunRow.kind == Kind.TRAINING.value, _IS_ACTIVE)
    found = await Scope(scope.session).execute(query.where(RunParentRow.parent_key == key, needed).order_by(RunRow.key))
    return [(kind, number) for kind, number in found.all()]


async def leave_children(scope: Scope, key: int) -> None:
    """Let go of those that do not need it."""
    await scope.execute(delete(RunParentRow).where(RunParentRow.parent_key == key))


async def set_tags(scope: Scope, key: int, tags: Sequence[str]) -> None:
    await scope.execute(delete(RunTagRow).where(RunTagRow.run_key == key))
    add_tags(scope, key, tags)


def add_tags(scope: Scope, key: int, tags: Sequence[str]) -> None:
    scope.put(*[RunTagRow(run_key=key, tag=tag) for tag in sorted(set(tags))])


async def uses_dataset(scope: Scope, dataset: int, version: int | None = None, *, kind: Kind | None = None) -> bool:
    query = select(RunRow.key).where(RunRow.dataset_id == dataset).limit(1)
    if version is not None:
        query = query.where(RunRow.version == version)
    if kind is not None:
        query = query.where(RunRow.kind == kind.value)
    return (await Scope(scope.session).scalar(query)) is not None


async def _runs(scope: Scope, condition: ColumnElement[bool]) -> list[Run]:
    return [_run(row) for row in (await scope.execute(_RUNS.where(condition))).all()]


def _parts(joined: str | None) -> list[str]:
    return joined.split(_BETWEEN) if joined else []


def _run(row: Row[*tuple[Any, ...]]) -> Run:
    return Run(
        key=row.key,
        kind=Kind(row.kind),
        number=row.number,
        attempt=row.attempt,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        person_id=row.created_by,
        person=row.person,
        title=row.title,
        name=row.name,
        phase=Phase(row.phase),
        reason=row.reason,
        message=row.message,
        command=row.command,
        source=Source(**json.loads(row.source)) if row.source else None,
        dataset=row.dataset_id,
        version=row.version,
        parents=tuple(sorted(int(number) for number in _parts(row.parents))),
        image=row.image,
        environment=json.loads(row.environment),
        cpu_milli=row.cpu_milli,
        memory_mib=row.memory_mib,
        gpus=row.gpus,
        gpu_kind=row.gpu_kind,
        cards=tuple(Gpu(kind=kind, index=index) for kind, index in json.loads(row.cards)),
        zip=row.zip,
        stop_at_first_failure=row.stop_at_first_failure,
        local_dataset=row.local_dataset,
        grace_s=row.grace_s,
        memo=row.memo,
        tags=tuple(sorted(_parts(row.tags))),
        favorite=row.favorite,
        server=row.server,
        stop=StopMode(row.stop) if row.stop else None,
        exit_code=row.exit_code,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
