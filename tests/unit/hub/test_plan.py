"""The queue: never more than there is, first in first out, and nobody waits for a stranger's limit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from kqi_hub.admission.plan import Admitted, Ask, Held, Limits, Request, Wait, Waiting, admit, fits_at_all, unreserved
from kqi_spawner.status import Capacity, GpuKind

KINDS = ("a", "b", "c")
LIMITS = {Wait.TENANT_LIMIT, Wait.PERSON_LIMIT}
Case = tuple[list[Request], list[Held], Capacity, Limits]

asks = st.builds(
    Ask,
    cpu_milli=st.integers(1, 6),
    memory_mib=st.integers(1, 6),
    gpus=st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4]),
    gpu_kind=st.sampled_from([None, None, *KINDS]),
)
kinds = st.dictionaries(st.sampled_from(KINDS), st.sets(st.integers(0, 9), min_size=1, max_size=5))
capacities = st.builds(
    lambda cpu, memory, cards: Capacity(
        cpu_milli=cpu,
        memory_mib=memory,
        gpus=tuple(GpuKind(name=name, indexes=tuple(sorted(indexes))) for name, indexes in cards.items()),
    ),
    st.integers(3, 20),
    st.integers(3, 20),
    kinds,
)
limits = st.builds(Limits, per_tenant=st.none() | st.integers(1, 4), per_person=st.none() | st.integers(1, 3))


# Where only cards are short.
card_asks = asks.map(lambda ask: replace(ask, cpu_milli=1, memory_mib=1, gpus=max(ask.gpus, 1)))
card_capacities = capacities.map(lambda capacity: replace(capacity, cpu_milli=100, memory_mib=100))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A queue as it can come about: what is held was admitted once, and what waits may need more than is left."""
    capacities_, asks_ = draw(st.sampled_from([(capacities, asks), (card_capacities, card_asks)]))
    capacity = draw(capacities_)
    wanted = draw(st.lists(asks_, max_size=12))
    people = st.integers(1, 4)
    queue = [
        Request(holder=holder, tenant=person % 2, person=person, ask=ask)
        for holder, (ask, person) in enumerate((ask, draw(people)) for ask in wanted)
    ]
    before = draw(st.integers(0, len(queue)))
    starts, _ = admit(queue[:before], [], capacity, Limits())
    kept = [start for start in starts if draw(st.booleans())]
    return queue[before:], [holding(start, queue) for start in kept], capacity, draw(limits)


def holding(start: Admitted, queue: Sequence[Request]) -> Held:
    request = next(request for request in queue if request.holder == start.holder)
    return Held(tenant=request.tenant, person=request.person, ask=request.ask, gpus=start.gpus)


def after(case: Case, starts: Sequence[Admitted]) -> list[Held]:
    return [*case[1], *(holding(start, case[0]) for start in starts)]


@given(cases())
def test_everybody_is_answered_once_in_the_order_of_the_queue(case: Case) -> None:
    starts, waits = admit(*case)
    order = [request.holder for request in case[0]]
    started, waiting = [start.holder for start in starts], [wait.holder for wait in waits]
    assert sorted([*started, *waiting]) == order
    assert started == sorted(started) and waiting == sorted(waiting)


@given(cases())
def test_what_is_given_is_there_once_and_is_what_was_asked(case: Case) -> None:
    starts, _ = admit(*case)
    capacity = case[2]
    all_held = after(case, starts)
    assert sum(item.ask.cpu_milli for item in all_held) <= capacity.cpu_milli
    assert sum(item.ask.memory_mib for item in all_held) <= capacity.memory_mib
    cards = [card for item in all_held for card in item.gpus]
    assert len(set(cards)) == len(cards)
    assert {(card.kind, card.index) for card in cards} <= {
        (kind.name, index) for kind in capacity.gpus for index in kind.indexes
    }
    for start in starts:
        ask = next(request.ask for request in case[0] if request.holder == start.holder)
        assert len(start.gpus) == ask.gpus
        assert len({card.kind for card in start.gpus}) <= 1
        assert ask.gpu_kind is None or all(card.kind == ask.gpu_kind for card in start.gpus)


@given(cases())
def test_no_tenant_and_no_person_holds_more_than_its_limit(case: Case) -> None:
    starts, waits = admit(*case)
    limit = case[3]
    before_tenants, before_people = Counter(item.tenant for item in case[1]), Counter(item.person for item in case[1])
    tenants = Counter(item.tenant for item in after(case, starts))
    people = Counter(item.person for item in after(case, starts))
    for tenant in tenants:
        assert limit.per_tenant is None or tenants[tenant] <= max(limit.per_tenant, before_tenants[tenant])
    for person in people:
        assert limit.per_person is None or people[person] <= max(limit.per_person, before_people[person])
    for wait in waits:
        request = next(request for request in case[0] if request.holder == wait.holder)
        if wait.why is Wait.TENANT_LIMIT:
            assert limit.per_tenant is not None and tenants[request.tenant] >= limit.per_tenant
        if wait.why is Wait.PERSON_LIMIT:
            assert limit.per_person is not None and people[request.person] >= limit.per_person


@given(cases(), st.integers(0, 12))
def test_who_comes_later_changes_nothing_for_who_came_first(case: Case, count: int) -> None:
    queue, *rest = case
    starts, waits = admit(*case)
    first = {request.holder for request in queue[:count]}
    assert admit(queue[:count], *rest) == (
        [start for start in starts if start.holder in first],
        [wait for wait in waits if wait.holder in first],
    )


@given(cases())
def test_who_waits_for_a_limit_holds_nobody_up(case: Case) -> None:
    queue, *rest = case
    starts, waits = admit(*case)
    limited = {wait.holder for wait in waits if wait.why in LIMITS}
    left = [request for request in queue if request.holder not in limited]
    assert admit(left, *rest) == (starts, [wait for wait in waits if wait.holder not in limited])


@given(cases())
def test_who_needs_more_than_there_is_holds_nobody_up(case: Case) -> None:
    queue, held, capacity, limit = case
    starts, waits = admit(*case)
    left = [request for request in queue if fits_at_all(request.ask, capacity) is None]
    kept = {request.holder for request in left}
    assert admit(left, held, capacity, limit) == (starts, [wait for wait in waits if wait.holder in kept])


@settings(max_examples=400)
@given(cases(), st.data())
def test_a_later_start_never_delays_one_that_waits_for_resources(case: Case, data: st.DataObject) -> None:
    """Whatever part of what is held comes free: what could start then if nobody had gone ahead can still start."""
    queue, held, capacity, _ = case
    starts, waits = admit(queue, held, capacity, Limits())
    if not waits:
        return
    waiting = next(request for request in queue if request.holder == waits[0].holder)
    earlier = after(case, [start for start in starts if start.holder < waiting.holder])
    later = [holding(start, queue) for start in starts if start.holder > waiting.holder]
    kept = [item for item in earlier if data.draw(st.booleans())]
    could = admit([waiting], kept, capacity, Limits())[0]
    can = admit([waiting], [*kept, *later], capacity, Limits())[0]
    assert bool(can) == bool(could)


@given(cases())
def test_the_first_who_may_starts_if_there_is_room(case: Case) -> None:
    queue, held, capacity, limit = case
    starts, waits = admit(*case)
    limited = {wait.holder for wait in waits if wait.why in LIMITS}
    first = next((request for request in queue if request.holder not in limited), None)
    if first is not None:
        alone = admit([first], held, capacity, limit)[0]
        assert bool(alone) == (first.holder in {start.holder for start in starts})


@given(cases())
def test_a_second_look_starts_nobody_else(case: Case) -> None:
    queue, _, capacity, limit = case
    starts, waits = admit(*case)
    waiting = {wait.holder for wait in waits}
    left = [request for request in queue if request.holder in waiting]
    assert admit(left, after(case, starts), capacity, limit)[0] == []


@given(cases())
def test_the_reason_is_the_turn_exactly_if_there_would_be_room(case: Case) -> None:
    queue, _, capacity, _ = case
    starts, waits = admit(*case)
    for wait in waits:
        ask = next(request.ask for request in queue if request.holder == wait.holder)
        begun = after(case, [start for start in starts if start.holder < wait.holder])
        room = not admit([Request(holder=0, tenant=9, person=9, ask=ask)], begun, capacity, Limits())[1]
        if wait.why not in LIMITS:
            assert (wait.why is Wait.TURN) == room


@given(cases())
def test_the_answer_depends_on_nothing_but_the_question(case: Case) -> None:
    queue, held, capacity, limit = case
    renamed = [replace(request, holder=request.holder + 100) for request in queue]
    starts, waits = admit(*case)
    assert admit(renamed, list(reversed(held)), capacity, limit) == (
        [replace(start, holder=start.holder + 100) for start in starts],
        [replace(wait, holder=wait.holder + 100) for wait in waits],
    )


@given(asks, capacities)
def test_what_fits_at_all_starts_on_an_empty_platform(ask: Ask, capacity: Capacity) -> None:
    starts, waits = admit([Request(holder=1, tenant=1, person=1, ask=ask)], [], capacity, Limits())
    assert (fits_at_all(ask, capacity) is None) == bool(starts)
    assert waits == [] or waits == [Waiting(holder=1, why=fits_at_all(ask, capacity) or Wait.TURN)]


def test_a_smaller_kind_is_not_kept_aside_for_one_that_could_never_use_it() -> None:
    capacity = Capacity(
        cpu_milli=10, memory_mib=10, gpus=(GpuKind(name="a", indexes=(0,)), GpuKind(name="b", indexes=(0, 1)))
    )
    busy = Ask(cpu_milli=1, memory_mib=1, gpus=1, gpu_kind="b")
    held = [Held(tenant=1, person=1, ask=busy, gpus=unreserved([], capacity).gpus[1:2])]
    two = Request(holder=1, tenant=1, person=1, ask=Ask(cpu_milli=1, memory_mib=1, gpus=2))
    one = Request(holder=2, tenant=1, person=1, ask=Ask(cpu_milli=1, memory_mib=1, gpus=1, gpu_kind="a"))
    starts, waits = admit([two, one], held, capacity, Limits())
    assert ([start.holder for start in starts], [wait.holder for wait in waits]) == ([2], [1])


def test_cards_are_kept_aside_of_every_kind_that_may_come_to_suffice() -> None:
    capacity = Capacity(
        cpu_milli=10, memory_mib=10, gpus=(GpuKind(name="a", indexes=(0, 1)), GpuKind(name="b", indexes=(0, 1, 2)))
    )
    one = Ask(cpu_milli=1, memory_mib=1, gpus=1, gpu_kind="b")
    three = Request(holder=1, tenant=1, person=1, ask=replace(one, gpus=3, gpu_kind=None))
    held = [Held(tenant=1, person=1, ask=one, gpus=unreserved([], capacity).gpus[2:3])]
    starts, waits = admit([three, Request(holder=2, tenant=1, person=1, ask=one)], held, capacity, Limits())
    assert starts == [] and [wait.why for wait in waits] == [Wait.GPU, Wait.TURN]


@given(cases())
def test_what_a_person_holds_may_be_added_up(case: Case) -> None:
    queue, held, capacity, limits = case
    sums: dict[tuple[int, int], Held] = {}
    for item in held:
        one = sums.get((item.tenant, item.person))
        sums[item.tenant, item.person] = added(one, item) if one else item
    assert admit(queue, list(sums.values()), capacity, limits) == admit(*case)


def added(one: Held, more: Held) -> Held:
    ask = Ask(
        cpu_milli=one.ask.cpu_milli + more.ask.cpu_milli,
        memory_mib=one.ask.memory_mib + more.ask.memory_mib,
        gpus=one.ask.gpus + more.ask.gpus,
    )
    return replace(one, ask=ask, gpus=one.gpus + more.gpus, count=one.count + more.count)
