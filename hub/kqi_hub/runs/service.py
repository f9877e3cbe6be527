"""Record what is wanted of a run: in one transaction, touching no engine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import func, select, update

from kqi.schema import Phase, StopMode
from kqi_hub.admission.plan import Admitted, Ask, Request
from kqi_hub.admission.service import Admission, cards_text
from kqi_hub.audit.log import record
from kqi_hub.clock import now
from kqi_hub.datasets.model import Version
from kqi_hub.datasets.service import DatasetService
from kqi_hub.db.scope import Scope, TenantScope
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity.tokens import Bearer, RunTokens
from kqi_hub.runs import store
from kqi_hub.runs.ends import Ends
from kqi_hub.runs.kinds.contract import FIXED
from kqi_hub.runs.model import ENDED, Kind, Run, Source, server_of, short_name, stop_phase, workload_of
from kqi_hub.runs.rows import RunParentRow, RunRow
from kqi_spawner.names import WorkloadName

# One argument or variable of a process may have 128 KiB (MAX_ARG_STRLEN).
_MAX_TEXT = 100_000
_MAX_ENVIRONMENT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run as it was asked for, its source already resolved."""

    kind: Kind
    title: str | None
    name: str | None
    command: str = ""
    source: Source | None
    dataset: tuple[int, int | None] | None
    parents: Sequence[int]
    image: str
    environment: Mapping[str, str]
    ask: Ask
    zip: bool = False
    stop_at_first_failure: bool = False
    local_dataset: bool = False
    grace_s: float = 30
    memo: str = ""
    tags: Sequence[str] = field(default=())
    server: str | None = None  # a notebook's name at the hub; None: from its number


@dataclass(slots=True, kw_only=True)
class RunService:
    admission: Admission
    datasets: DatasetService
    tokens: RunTokens
    ends: Ends

    async def submit(self, scope: TenantScope, wanted: Wanted) -> tuple[Run, int]:
        """Record a run, freeze its dataset, and reserve what it needs or queue it.

        Return it, and how many of those that waited before it may start now.
        """
        check_texts(wanted.command, wanted.environment)
        version = await self._version(scope, wanted)
        parents = [await self._parent(scope, number) for number in dict.fromkeys(wanted.parents)]
        number = await store.next_number(scope, wanted.kind)
        title = wanted.title or wanted.name or f"{wanted.kind.value} {number}"
        row = _row(scope, wanted, number)
        row.title, row.name = title, wanted.name or short_name(title, wanted.kind)
        row.dataset_id, row.version = (version.dataset, version.number) if version else (None, None)
        row.server = wanted.server if wanted.server is not None else server_of(number)
        await scope.add(row)
        await record(scope, row.tenant_id, "run.submit", f"{wanted.kind.value}/{number}", title=title)
        scope.put(*[RunParentRow(run_key=row.key, parent_key=key) for key in parents])
        store.add_tags(scope, row.key, wanted.tags)
        store.note(scope, row.key, Phase.QUEUED)
        with scope.session.no_autoflush:  # what is to be inserted goes together, with the last question
            others = await self._queue(scope, row)
        return await store.one(scope, wanted.kind, number), others

    async def start_again(self, scope: TenantScope, kind: Kind, number: int) -> Run:
        """Queue an ended notebook again; one that is at work is answered as it is."""
        row = await store.check_change(scope, kind, number)
        run = await store.one(scope, kind, number)
        if run.phase not in ENDED:
            return run
        fresh: dict[str, object] = dict.fromkeys(("stop", "exit_code", "started_at", "finished_at"))
        fresh["attempt"] = run.attempt + 1
        if run.dataset is not None:
            fresh["version"] = await self.datasets.standing(Scope(scope.session), run.dataset, run.version)
        if not await store.move(scope, run, Phase.QUEUED, values=fresh):
            raise Conflict("run_changed", kind=kind.value, id=number)
        await record(scope, run.tenant_id, "run.start_again", f"{kind.value}/{number}")
        await scope.session.refresh(row)
        await self._queue(scope, row)
        return await store.one(scope, kind, number)

    async def stop(self, scope: TenantScope, kind: Kind, number: int, mode: StopMode) -> Run:
        """Record that it is to stop; a kill may follow a cancel, not the other way round. Idempotent."""
        await store.check_change(scope, kind, number)
        run = await store.one(scope, kind, number)
        if run.phase in ENDED:
            raise Conflict("run_ended", kind=kind.value, id=number, phase=run.phase.value)
        if run.stop is not StopMode.KILL:
            await record(scope, run.tenant_id, "run.stop", f"{kind.value}/{number}", mode=mode.value)
        await self.let_stop(scope, run, mode)
        return await store.one(scope, kind, number)

    async def let_stop(self, scope: Scope, run: Run, mode: StopMode) -> None:
        """Record it for the loop, which acts; one that waits in the queue ends at once."""
        if run.stop is not StopMode.KILL:
            statement = update(RunRow).where(RunRow.key == run.key).values(stop=mode.value)
            await scope.execute(statement.execution_options(synchronize_session="fetch"))
        if run.phase is Phase.QUEUED:
            ended = stop_phase(mode)
            if await store.move(scope, run, ended, reason="stopped", values={"finished_at": now()}):
                await self.let_go(scope, run)
                await self.ends.ended(scope.session, run, ended, "stopped")

    async def change(self, scope: TenantScope, kind: Kind, number: int, values: Mapping[str, object]) -> Run:
        """Change title, memo, favourite or tags; None leaves one as it is."""
        row = await store.check_change(scope, kind, number)
        for name in ("title", "memo", "favorite"):
            if values.get(name) is not None:
                setattr(row, name, values[name])
        await scope.flush()
        tags = values.get("tags")
        if isinstance(tags, list):
            await store.set_tags(scope, row.key, tags)
        await record(scope, row.tenant_id, "run.change", f"{kind.value}/{number}")
        return await store.one(scope, kind, number)

    async def delete(self, scope: TenantScope, kind: Kind, number: int) -> Run:
        """Forget an ended run; its folder is the caller's to remove. Raises Conflict for a parent."""
        await store.check_change(scope, kind, number)
        run = await store.one(scope, kind, number)
        if run.phase not in ENDED:
            raise Conflict("run_active", kind=kind.value, id=number)
        children = await store.children(scope, run.key)
        if children:
            child_kind, child = children[0]
            raise Conflict("run_is_parent", kind=kind.value, id=number, child_kind=child_kind, child=child)
        await store.leave_children(scope, run.key)
        await scope.delete(await store.row(scope, kind, number))
        if run.dataset is not None and run.version is not None:
            used = await store.uses_dataset(scope, run.dataset, run.version, kind=Kind.TRAINING)
            if not used:
                await self.datasets.thaw(Scope(scope.session), run.dataset, run.version)
        await record(scope, run.tenant_id, "run.delete", f"{kind.value}/{number}", title=run.title)
        return run

    async def let_go(self, scope: Scope, run: Run) -> list[WorkloadName]:
        """Give back what it held and let others in, in the transaction that ends it; return who may start."""
        await self.admission.release(scope, run.key)
        return await self.admit(scope)

    async def admit(self, scope: Scope) -> list[WorkloadName]:
        """Reserve for everybody who may start now, who so leaves the queue; return them."""
        whole = Scope(scope.session)  # the queue is one over all tenants
        return [await self._leave_queue(whole, start) for start in await self.admission.admit(whole)]

    async def _leave_queue(self, whole: Scope, start: Admitted) -> WorkloadName:
        statement = (
            update(RunRow)
            .where(RunRow.key == start.holder)
            .values(cards=cards_text(start.gpus), phase=Phase.PREPARING.value)
            .returning(RunRow.created_by, RunRow.tenant_id, RunRow.kind, RunRow.number, RunRow.attempt)
            .execution_options(synchronize_session="fetch")
        )
        person, tenant, kind, number, attempt = (await whole.execute(statement)).one()
        self._allow(whole, Bearer(person=person, tenant=tenant, run_key=start.holder, attempt=attempt))
        return workload_of(Kind(kind), number, attempt)

    def _allow(self, scope: Scope, bearer: Bearer) -> None:
        """Make its token valid and note that it is being prepared."""
        self.tokens.allow(scope.session, bearer)
        store.note(scope, bearer.run_key, Phase.PREPARING)

    async def _queue(self, scope: TenantScope, row: RunRow) -> int:
        """Put a run at the end of the queue, which it may leave at once; return how many others leave it."""
        whole, others = Scope(scope.session), 0
        request = Request(holder=row.key, tenant=row.tenant_id, person=row.created_by, ask=_ask(row))
        for start in await self.admission.enter(whole, request, notebook=row.kind == Kind.NOTEBOOK):
            if start.holder == row.key:
                row.cards, row.phase = cards_text(start.gpus), Phase.PREPARING.value
                bearer = Bearer(person=row.created_by, tenant=row.tenant_id, run_key=row.key, attempt=row.attempt)
                self._allow(whole, bearer)
            else:
                await self._leave_queue(whole, start)
                others += 1
        return others

    async def _version(self, scope: TenantScope, wanted: Wanted) -> Version | None:
        if wanted.dataset is None:
            return None
        version = await self.datasets.version(scope.with_shared(), *wanted.dataset)
        if wanted.kind is Kind.TRAINING and not version.frozen:
            await self.datasets.freeze(Scope(scope.session), version)
        return version

    async def _parent(self, scope: TenantScope, number: int) -> int:
        try:
            parent = await store.row(scope, Kind.TRAINING, number)
        except NotFound as error:
            raise Invalid("parent_unknown", id=number) from error
        if Phase(parent.phase) not in ENDED:
            raise Conflict("parent_not_ended", id=number)
        return parent.key


def check_texts(command: str, environment: Mapping[str, str]) -> None:
    """Raise Invalid for what a process could not be given, or a person may not set."""
    if len(command.encode()) > _MAX_TEXT:
        raise Invalid("command_too_long", bytes=_MAX_TEXT)
    fixed = sorted(FIXED & environment.keys())
    if fixed:
        raise Invalid("environment_fixed", name=fixed[0])
    sizes = [len(name.encode()) + len(value.encode()) for name, value in environment.items()]
    if max(sizes, default=0) > _MAX_TEXT or sum(sizes) > _MAX_ENVIRONMENT:
        raise Invalid("environment_too_long", bytes=_MAX_TEXT)


async def counts(scope: Scope) -> dict[str, int]:
    """Return how many runs are in each phase."""
    rows = (await scope.execute(select(RunRow.phase, func.count()).group_by(RunRow.phase))).all()
    return {phase: count for phase, count in rows}


def _ask(row: RunRow) -> Ask:
    return Ask(cpu_milli=row.cpu_milli, memory_mib=row.memory_mib, gpus=row.gpus, gpu_kind=row.gpu_kind)


def _row(scope: TenantScope, wanted: Wanted, number: int) -> RunRow:
    return RunRow(
        tenant_id=scope.tenant,
        kind=wanted.kind.value,
        number=number,
        attempt=1,
        phase=Phase.QUEUED.value,
        message="",
        command=wanted.command,
        source=json.dumps(asdict(wanted.source)) if wanted.source else None,
        image=wanted.image,
        environment=json.dumps(dict(wanted.environment)),
        cpu_milli=wanted.ask.cpu_milli,
        memory_mib=wanted.ask.memory_mib,
        gpus=wanted.ask.gpus,
        gpu_kind=wanted.ask.gpu_kind,
        cards="[]",
        zip=wanted.zip,
        stop_at_first_failure=wanted.stop_at_first_failure,
        local_dataset=wanted.local_dataset,
        grace_s=wanted.grace_s,
        memo=wanted.memo,
        created_by=scope.person,
        created_at=now(),
    )
