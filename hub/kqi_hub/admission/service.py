"""Reserve and release: always in the transaction that records why."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.admission import plan
from kqi_hub.admission.plan import Admitted, Ask, Held, Limits, Most, Request, Wait
from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words
from kqi_hub.db.scope import Scope
from kqi_hub.errors import Invalid
from kqi_hub.identity.rows import TenantRow
from kqi_hub.tenants import placement
from kqi_hub.tenants.expand import Thing
from kqi_spawner.status import Capacity
from kqi_spawner.workload import Gpu


class ClaimRow(Base):
    """A request in the queue, or what it holds. The order of `id` is the order of the queue."""

    __tablename__ = "claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[int] = mapped_column(unique=True)
    tenant_id: Mapped[int] = mapped_column(index=True)
    person_id: Mapped[int]
    cpu_milli: Mapped[int]
    memory_mib: Mapped[int]
    gpus: Mapped[int]
    gpu_kind: Mapped[str | None] = mapped_column(Words(100))
    cards: Mapped[str] = mapped_column(default="[]")  # JSON: [kind, index] of each card held
    held: Mapped[bool] = mapped_column(default=False, index=True)
    why: Mapped[str] = mapped_column(Words(64), default=Wait.TURN.value)
    at: Mapped[datetime]
    __table_args__ = ({"sqlite_autoincrement": True},)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue, from 1."""

    position: int
    why: Wait


@dataclass(slots=True, kw_only=True)
class Admission:
    """`capacity` is what the engine has in all, as last measured."""

    capacity: Capacity
    limits: Limits

    def check(self, ask: Ask) -> None:
        """Raise Invalid for what could never be given."""
        short = plan.fits_at_all(ask, self.capacity)
        if short is not None and plan.fits_at_all(ask, replace(self.capacity, nodes=())) is None:
            raise Invalid("fits_on_no_node", cpu=ask.cpu_milli / 1000, memory=ask.memory_mib / 1024, gpus=ask.gpus)
        if short is Wait.GPU:
            kinds = {kind.name: len(kind.indexes) for kind in self.capacity.gpus}
            there = ", ".join(f"{name}: {count}" for name, count in kinds.items()) or "0"
            raise Invalid("more_gpus_than_there_are", asked=ask.gpus, kind=ask.gpu_kind or "*", there=there)
        if short is Wait.CPU:
            raise Invalid("more_cpu_than_there_is", asked=ask.cpu_milli / 1000, there=self.capacity.cpu_milli / 1000)
        if short is Wait.MEMORY:
            raise Invalid(
                "more_memory_than_there_is", asked=ask.memory_mib / 1024, there=self.capacity.memory_mib / 1024
            )

    async def check_tenant(self, scope: Scope, tenant: int, ask: Ask, *, notebook: bool) -> None:
        """Raise Invalid for what the limits of the tenant would never let start."""
        text = await scope.scalar(select(TenantRow.expand).where(TenantRow.id == tenant))
        limits = [*placement.single(text, notebook=notebook), *placement.concurrent(text)]
        for quota in limits:
            if _amount(ask, quota.thing) > quota.amount:
                said = f"{quota.span},{quota.thing},{quota.bound},{quota.value}"
                raise Invalid("more_than_tenant_limit", limit=said)

    async def ask(self, scope: Scope, request: Request) -> None:
        """Put a request at the end of the queue."""
        row = ClaimRow(holder=request.holder, tenant_id=request.tenant, person_id=request.person, at=now())
        row.cpu_milli, row.memory_mib = request.ask.cpu_milli, request.ask.memory_mib
        row.gpus, row.gpu_kind = request.ask.gpus, request.ask.gpu_kind
        row.cards, row.held, row.why = "[]", False, Wait.TURN.value
        await scope.add(row)

    async def admit(self, scope: Scope) -> list[Admitted]:
        """Reserve for everybody who may start now; return them."""
        rows = await scope.all(select(ClaimRow).order_by(ClaimRow.id))
        queue = [
            Request(holder=row.holder, tenant=row.tenant_id, person=row.person_id, ask=_ask(row))
            for row in rows
            if not row.held
        ]
        if not queue:
            return []
        limits = replace(self.limits, of_tenants=await _of_tenants(scope, {request.tenant for request in queue}))
        starts, waits = plan.admit(queue, [_held(row) for row in rows if row.held], self.capacity, limits)
        by_holder = {row.holder: row for row in rows}
        for start in starts:
            row = by_holder[start.holder]
            row.held, row.cards = True, json.dumps([[card.kind, card.index] for card in start.gpus])
        for wait in waits:
            by_holder[wait.holder].why = wait.why.value
        await scope.flush()
        return starts

    async def release(self, scope: Scope, holder: int) -> None:
        """Give back what it holds, or leave the queue. Idempotent."""
        await scope.execute(delete(ClaimRow).where(ClaimRow.holder == holder))

    async def cards(self, scope: Scope, holder: int) -> tuple[Gpu, ...]:
        text = await scope.scalar(select(ClaimRow.cards).where(ClaimRow.holder == holder))
        return _cards(text or "[]")

    async def places(self, scope: Scope, holders: Sequence[int]) -> dict[int, Place]:
        """Return the places of those that wait."""
        if not holders:
            return {}
        ranked = (
            select(ClaimRow.holder, ClaimRow.why, func.row_number().over(order_by=ClaimRow.id).label("position"))
            .where(ClaimRow.held.is_(False))
            .subquery()
        )
        rows = (await scope.execute(select(ranked).where(ranked.c.holder.in_(list(holders))))).all()
        return {holder: Place(position, Wait(why)) for holder, why, position in rows}

    async def free(self, scope: Scope) -> tuple[int, int, tuple[Gpu, ...], int]:
        """Return free thousandths of cores, MiB and cards, and how many wait."""
        rows = await scope.all(select(ClaimRow))
        left = plan.unreserved([_held(row) for row in rows if row.held], self.capacity)
        return left.cpu_milli, left.memory_mib, left.gpus, sum(not row.held for row in rows)


async def _of_tenants(scope: Scope, tenants: Collection[int]) -> dict[int, Most]:
    query = select(TenantRow.id, TenantRow.expand).where(TenantRow.id.in_(sorted(tenants)), TenantRow.expand != "{}")
    return {tenant: _most(text) for tenant, text in (await scope.execute(query)).all()}


def _most(text: str) -> Most:
    amounts = {quota.thing: quota.amount for quota in placement.concurrent(text)}
    return Most(cpu_milli=amounts.get(Thing.CPU), memory_mib=amounts.get(Thing.MEMORY), gpus=amounts.get(Thing.GPU))


def _amount(ask: Ask, thing: Thing) -> int:
    return {Thing.CPU: ask.cpu_milli, Thing.MEMORY: ask.memory_mib, Thing.GPU: ask.gpus}[thing]


def _ask(row: ClaimRow) -> Ask:
    return Ask(cpu_milli=row.cpu_milli, memory_mib=row.memory_mib, gpus=row.gpus, gpu_kind=row.gpu_kind)


def _held(row: ClaimRow) -> Held:
    return Held(tenant=row.tenant_id, person=row.person_id, ask=_ask(row), gpus=_cards(row.cards))


def _cards(text: str) -> tuple[Gpu, ...]:
    return tuple(Gpu(kind=kind, index=index) for kind, index in json.loads(text))
