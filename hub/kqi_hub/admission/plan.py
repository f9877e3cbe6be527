"""Decide which waiting requests may start. Pure.

The queue is first in, first out: a request that must wait for resources keeps what it needs aside, so that a later one
goes first only where that cannot delay it. One that waits for a limit of its own tenant or person holds nobody else up,
nor does one that needs more than there is in all, since cards failed or the configuration changed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, partial

from kqi_spawner.status import Capacity
from kqi_spawner.workload import Gpu


class Wait(StrEnum):
    """Why a request waits; each is a key of the catalogue."""

    CPU = "waiting_for_cpu"
    MEMORY = "waiting_for_memory"
    GPU = "waiting_for_gpu"
    TENANT_LIMIT = "waiting_for_tenant_limit"
    PERSON_LIMIT = "waiting_for_person_limit"
    TURN = "waiting_for_turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request wants; `gpu_kind` None takes cards of any one kind."""

    cpu_milli: int
    memory_mib: int
    gpus: int = 0
    gpu_kind: str | None = None


_NOTHING = Ask(cpu_milli=0, memory_mib=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    holder: int
    tenant: int
    person: int
    ask: Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What `count` requests of a person in a tenant hold together."""

    tenant: int
    person: int
    ask: Ask
    gpus: tuple[Gpu, ...]
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """What a tenant may hold in all at once; None: as much as there is."""

    cpu_milli: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None

    def lets(self, ask: Ask, held: Ask) -> bool:
        """Return whether `ask` may come on top of what is held already."""
        pairs = (
            (self.cpu_milli, ask.cpu_milli + held.cpu_milli),
            (self.memory_mib, ask.memory_mib + held.memory_mib),
            (self.gpus, ask.gpus + held.gpus),
        )
        return all(most is None or wanted <= most for most, wanted in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many requests of one tenant or person may hold something at once; None: any number."""

    per_tenant: int | None = None
    per_person: int | None = None
    of_tenants: Mapping[int, Most] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    holder: int
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    holder: int
    why: Wait


@dataclass(frozen=True, slots=True)
class _Free:
    cpu_milli: int
    memory_mib: int
    kinds: Mapping[str, tuple[Gpu, ...]]

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(card for cards in self.kinds.values() for card in cards)


def admit(
    queue: Sequence[Request], held: Sequence[Held], capacity: Capacity, limits: Limits
) -> tuple[list[Admitted], list[Waiting]]:
    """Return who starts, with which cards, and why each of the others waits; both in the order of `queue`."""
    whole = unreserved([], capacity)
    never_fits = cache(partial(fits_at_all, capacity=capacity))  # requests are alike, and nodes may be many
    free = unheld = unreserved(held, capacity)  # of what is unheld, some is put aside
    tenants: Counter[int] = Counter()
    people: Counter[int] = Counter()
    for item in held:
        tenants[item.tenant] += item.count
        people[item.person] += item.count
    sums = _sums(held)
    starts: list[Admitted] = []
    waits: list[Waiting] = []
    for request in queue:
        of_tenant = limits.of_tenants.get(request.tenant, Most())
        many = limits.per_tenant is not None and tenants[request.tenant] >= limits.per_tenant
        if many or not of_tenant.lets(request.ask, sums.get(request.tenant, _NOTHING)):
            waits.append(Waiting(holder=request.holder, why=Wait.TENANT_LIMIT))
            continue
        if limits.per_person is not None and people[request.person] >= limits.per_person:
            waits.append(Waiting(holder=request.holder, why=Wait.PERSON_LIMIT))
            continue
        never = never_fits(request.ask)
        if never is not None:
            waits.append(Waiting(holder=request.holder, why=never))
            continue
        short = _short(request.ask, free)
        if short is not None:
            # What is short now may be short only because an earlier request has it put aside.
            waits.append(Waiting(holder=request.holder, why=short if _short(request.ask, unheld) else Wait.TURN))
            free = _put_aside(request.ask, free, whole)
            continue
        cards = _cards(request.ask, free)
        free, unheld = _minus(request.ask, cards, free), _minus(request.ask, cards, unheld)
        tenants[request.tenant] += 1
        sums[request.tenant] = _plus(sums.get(request.tenant, _NOTHING), request.ask)
        people[request.person] += 1
        starts.append(Admitted(holder=request.holder, gpus=cards))
    return starts, waits


def fits_at_all(ask: Ask, capacity: Capacity) -> Wait | None:
    """Return what the whole of the platform, or any one node of it, could never give; None if one could."""
    short = _short(ask, unreserved([], capacity))
    if short is not None or not capacity.nodes:
        return short
    shorts = [_short(ask, unreserved([], node)) for node in capacity.nodes]
    return None if None in shorts else max(filter(None, shorts), key=[Wait.GPU, Wait.CPU, Wait.MEMORY].index)


def unreserved(held: Sequence[Held], capacity: Capacity) -> _Free:
    taken = {card for item in held for card in item.gpus}
    kinds = {kind.name: [Gpu(kind=kind.name, index=index) for index in kind.indexes] for kind in capacity.gpus}
    return _Free(
        capacity.cpu_milli - sum(item.ask.cpu_milli for item in held),
        capacity.memory_mib - sum(item.ask.memory_mib for item in held),
        {name: tuple(card for card in cards if card not in taken) for name, cards in kinds.items()},
    )


def _sums(held: Sequence[Held]) -> dict[int, Ask]:
    found: dict[int, Ask] = {}
    for item in held:
        found[item.tenant] = _plus(found.get(item.tenant, _NOTHING), item.ask)
    return found


def _plus(one: Ask, more: Ask) -> Ask:
    return Ask(
        cpu_milli=one.cpu_milli + more.cpu_milli,
        memory_mib=one.memory_mib + more.memory_mib,
        gpus=one.gpus + more.gpus,
    )


def _short(ask: Ask, free: _Free) -> Wait | None:
    if ask.gpus and not _usable(ask, free):
        return Wait.GPU
    if ask.cpu_milli > free.cpu_milli:
        return Wait.CPU
    return Wait.MEMORY if ask.memory_mib > free.memory_mib else None


def _usable(ask: Ask, there: _Free) -> list[str]:
    """Return the kinds of which there are enough cards."""
    kinds = there.kinds.items()
    return [kind for kind, cards in kinds if len(cards) >= ask.gpus and ask.gpu_kind in {None, kind}]


def _cards(ask: Ask, free: _Free) -> tuple[Gpu, ...]:
    """Choose cards of one kind: the kind with the fewest free ones that suffices, so that large asks find room."""
    if not ask.gpus:
        return ()
    chosen = min(_usable(ask, free), key=lambda kind: (len(free.kinds[kind]), kind))
    return free.kinds[chosen][: ask.gpus]


def _minus(ask: Ask, cards: Sequence[Gpu], free: _Free) -> _Free:
    kinds = free.kinds
    if cards:
        gone = set(cards)
        kinds = {kind: tuple(card for card in there if card not in gone) for kind, there in kinds.items()}
    return _Free(free.cpu_milli - ask.cpu_milli, free.memory_mib - ask.memory_mib, kinds)


def _put_aside(ask: Ask, free: _Free, whole: _Free) -> _Free:
    """Keep for a waiting request what is free of what it needs: of every kind of card that may come to suffice."""
    aside = [card for kind in _usable(ask, whole) for card in free.kinds[kind][: ask.gpus]] if ask.gpus else []
    return _minus(ask, aside, free)
