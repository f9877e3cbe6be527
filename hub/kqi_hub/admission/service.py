"""Reserve and release: always in the transaction that records why."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.admission import plan
from kqi_hub.admission.plan import Admitted, Ask, Held, Limits, Most, Request, Wait
from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words
from kqi_hub.db.scope import Scope
from kqi_hub.errors import Invalid
from kqi_hub.identity.rows import TenantRow
from kqi_hub.tenants import placement
from kqi_hub.tenants.expand import Quota, Thing
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


_WAITING = (
    select(
        *(ClaimRow.id, ClaimRow.why, ClaimRow.holder, ClaimRow.tenant_id, ClaimRow.person_id, TenantRow.expand),
        *(ClaimRow.cpu_milli, ClaimRow.memory_mib, ClaimRow.gpus, ClaimRow.gpu_kind),
    )
    .join(TenantRow, TenantRow.id == ClaimRow.tenant_id)
    .where(ClaimRow.held.is_(False))
    .order_by(ClaimRow.id)
)
_WHOSE = (ClaimRow.tenant_id, ClaimRow.person_id)
_SUMS = (func.sum(ClaimRow.cpu_milli), func.sum(ClaimRow.memory_mib), func.sum(ClaimRow.gpus))
_HELD = select(*_WHOSE, func.count(), *_SUMS).where(ClaimRow.held).group_by(*_WHOSE)
_CARDS = select(*_WHOSE, ClaimRow.cards).where(ClaimRow.held, ClaimRow.gpus > 0)


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

    async def enter(self, scope: Scope, request: Request, *, notebook: bool) -> list[Admitted]:
        """Put a request at the end of the queue and reserve for everybody who may start now; return them.

        Raises Invalid for what could never be given, or what the limits of the tenant would never let start.
        """
        self.check(request.ask)
        text = await scope.scalar(select(TenantRow.expand).where(TenantRow.id == request.tenant))
        _check_limits([*placement.single(text, notebook=notebook), *placement.concurrent(text)], request.ask)
        return await self._decide(scope, [*await _waiting(scope), _Waiting(None, "", text, request)])

    async def admit(self, scope: Scope) -> list[Admitted]:
        """Reserve for everybody who may start now; return them."""
        waiting = await _waiting(scope)
        return await self._decide(scope, waiting) if waiting else []

    async def _decide(self, scope: Scope, waiting: Sequence["_Waiting"]) -> list[Admitted]:
        of_tenants = {tenant: _most(text) for tenant, text in {(one.request.tenant, one.expand) for one in waiting}}
        limits = replace(self.limits, of_tenants=of_tenants)
        starts, waits = plan.admit([one.request for one in waiting], await _held(scope), self.capacity, limits)
        whys = {wait.holder: wait.why.value for wait in waits}
        cards = {start.holder: cards_text(start.gpus) for start in starts}
        admitted, told = [], []
        for one in waiting:
            why, held = whys.get(one.request.holder), cards.get(one.request.holder)
            if one.id is None:
                scope.put(_claim(one.request, held, why))
            elif held is not None:
                admitted.append({"id": one.id, "held": True, "cards": held})
            elif why != one.why:
                told.append({"id": one.id, "why": why})
        for changes in (admitted, told):
            if changes:
                await scope.session.execute(update(ClaimRow), changes)
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
        left = plan.unreserved(await _held(scope), self.capacity)
        return left.cpu_milli, left.memory_mib, left.gpus, await self.waiting(scope)

    async def waiting(self, scope: Scope) -> int:
        """Return how many wait."""
        return int(await scope.scalar(select(func.count()).where(ClaimRow.held.is_(False))))


def _check_limits(limits: Iterable[Quota], ask: Ask) -> None:
    for quota in limits:
        if _amount(ask, quota.thing) > quota.amount:
            raise Invalid("more_than_tenant_limit", limit=f"{quota.span},{quota.thing},{quota.bound},{quota.value}")


def _most(text: str) -> Most:
    amounts = {quota.thing: quota.amount for quota in placement.concurrent(text)}
    return Most(cpu_milli=amounts.get(Thing.CPU), memory_mib=amounts.get(Thing.MEMORY), gpus=amounts.get(Thing.GPU))


def _amount(ask: Ask, thing: Thing) -> int:
    return {Thing.CPU: ask.cpu_milli, Thing.MEMORY: ask.memory_mib, Thing.GPU: ask.gpus}[thing]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits, in the queue already or about to enter it, with the settings of its tenant."""

    id: int | None
    why: str
    expand: str
    request: Request


async def _waiting(scope: Scope) -> list[_Waiting]:
    """Return those in the queue, in its order."""
    rows = (await scope.execute(_WAITING)).all()
    return [
        _Waiting(
            row.id,
            row.why,
            row.expand,
            Request(
                holder=row.holder,
                tenant=row.tenant_id,
                person=row.person_id,
                ask=Ask(cpu_milli=row.cpu_milli, memory_mib=row.memory_mib, gpus=row.gpus, gpu_kind=row.gpu_kind),
            ),
        )
        for row in rows
    ]


def _claim(request: Request, cards: str | None, why: str | None) -> ClaimRow:
    row = ClaimRow(holder=request.holder, tenant_id=request.tenant, person_id=request.person, at=now())
    row.cpu_milli, row.memory_mib = request.ask.cpu_milli, request.ask.memory_mib
    row.gpus, row.gpu_kind = request.ask.gpus, request.ask.gpu_kind
    row.cards, row.held, row.why = cards or "[]", cards is not None, why or Wait.TURN.value
    return row


async def _held(scope: Scope) -> list[Held]:
    """Return what is held, one for each person and tenant: the database adds up, for there may be thousands."""
    rows = (await scope.execute(_HELD)).all()
    cards: dict[tuple[int, int], list[Gpu]] = {}
    if any(gpus for *_, gpus in rows):
        for tenant, person, text in (await scope.execute(_CARDS)).all():
            cards.setdefault((tenant, person), []).extend(_cards(text))
    return [
        Held(
            tenant=tenant,
            person=person,
            count=count,
            ask=Ask(cpu_milli=int(cpu), memory_mib=int(memory), gpus=int(gpus)),
            gpus=tuple(cards.get((tenant, person), ())),
        )
        for tenant, person, count, cpu, memory, gpus in rows
    ]


def cards_text(cards: Sequence[Gpu]) -> str:
    """Return cards as they are recorded."""
    return json.dumps([[card.kind, card.index] for card in cards])


def _cards(text: str) -> tuple[Gpu, ...]:
    return tuple(Gpu(kind=kind, index=index) for kind, index in json.loads(text))
