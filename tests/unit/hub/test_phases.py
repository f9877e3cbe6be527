"""A run under any schedule of observations, stops and crashes: only along the edges, always to an end."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kqi.schema import Phase, StopMode
from kqi_hub.runs.model import ACTIVE, EDGES, ENDED, Kind, Run, Step, next_step, stop_phase, verdict
from kqi_spawner.status import Phase as Seen
from kqi_spawner.status import Reason, WorkloadStatus
from tests.unit.hub.runs import some_run

modes = st.sampled_from(list(StopMode))
codes = st.sampled_from([0, 1, 2, 137, 143])
exits = st.builds(
    WorkloadStatus,
    phase=st.just(Seen.EXITED),
    exit_code=st.none() | codes,
    reason=st.none() | st.sampled_from(list(Reason)),
)
statuses = exits | st.sampled_from([WorkloadStatus(phase=phase) for phase in Seen if phase is not Seen.EXITED])
runs = st.builds(
    lambda kind, phase, stop: replace(some_run(), kind=kind, phase=phase, stop=stop),
    st.sampled_from(list(Kind)),
    st.sampled_from(ACTIVE),
    st.none() | modes,
)
ABSENT = WorkloadStatus(phase=Seen.ABSENT)


def leads_to(run: Run, step: Step, seen: WorkloadStatus) -> set[Phase]:
    """Return the phases that the reconciler may record when it takes the step."""
    if step is Step.WAIT:
        return set()
    if step is Step.PREPARE:
        return {Phase.FAILED}  # if it cannot be started
    if step is Step.SEE_RUNNING:
        return {Phase.RUNNING}
    if step is Step.ASK_TO_STOP:
        return set() if run.phase is Phase.STOPPING else {Phase.STOPPING}
    if step is Step.COLLECT:
        return {verdict(run, seen).phase} if run.phase is Phase.COLLECTING else {Phase.COLLECTING}
    return {stop_phase(run.stop) if run.stop else Phase.FAILED}


@given(runs, statuses, st.none() | modes)
def test_every_step_goes_along_an_edge(run: Run, seen: WorkloadStatus, asked: StopMode | None) -> None:
    step = next_step(run, seen, asked)
    assert step is next_step(run, seen, asked)
    assert leads_to(run, step, seen) <= EDGES[run.phase]


def test_the_edges_lead_everywhere_and_back_only_from_an_end() -> None:
    assert set(EDGES) == set(Phase) == {*ACTIVE, *ENDED}
    order = {phase: place for place, phase in enumerate(ACTIVE)}
    for phase in ACTIVE:
        assert all(to in ENDED or order[to] > order[phase] for to in EDGES[phase])
        assert set(ENDED) <= EDGES[phase]


@given(runs, statuses)
def test_a_verdict_is_an_end_and_tells_the_truth(run: Run, seen: WorkloadStatus) -> None:
    end = verdict(run, seen)
    assert end.phase in ENDED
    if seen.phase is Seen.EXITED:
        assert end.exit_code == seen.exit_code
    else:
        assert (end.exit_code, end.reason) == (None, "lost") and end.phase is not Phase.COMPLETED
    if end.phase in {Phase.CANCELED, Phase.KILLED}:
        assert run.stop is not None and end.phase is stop_phase(run.stop)
        assert seen.phase is not Seen.EXITED or seen.exit_code != 0 or seen.reason is Reason.STOPPED
    elif run.stop is not None:
        assert seen.exit_code == 0 and seen.reason is not Reason.STOPPED
    if end.phase is Phase.COMPLETED and run.kind is Kind.TRAINING:
        assert end.exit_code == 0 and seen.reason is None
    assert (end.reason is None) == (end.phase is Phase.COMPLETED)


@dataclass
class Engine:
    """One workload. Its program may ignore the request to end; then only a kill, or the end of the grace, ends it."""

    stubborn: bool = False
    status: WorkloadStatus = ABSENT
    begun: bool = False
    asked: set[StopMode] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.status.phase in {Seen.PENDING, Seen.RUNNING}

    def start(self) -> None:
        if not self.begun:
            self.begun, self.status = True, WorkloadStatus(phase=Seen.PENDING)

    def stop(self, mode: StopMode) -> None:
        if self.alive:
            self.asked.add(mode)

    def end(self, code: int | None, reason: Reason | None = None) -> None:
        reason = Reason.STOPPED if self.asked else reason
        self.status = WorkloadStatus(phase=Seen.EXITED, exit_code=code, reason=reason)

    def forget(self) -> None:
        assert not self.alive
        self.status = ABSENT


class Life(RuleBasedStateMachine):
    """Recorded and observed state; a step is taken on what was seen earlier, and may be cut short by a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.run = some_run()
        self.engine = Engine()
        self.held: tuple[Run, WorkloadStatus] | None = None  # what the step in progress was decided on
        self.told: StopMode | None = None  # what this process remembers to have asked the engine
        self.ended_by_itself = False

    @initialize(kind=st.sampled_from(list(Kind)), stubborn=st.booleans(), at_once=st.booleans())
    def submit(self, kind: Kind, stubborn: bool, at_once: bool) -> None:
        self.run, self.engine.stubborn = replace(self.run, kind=kind), stubborn
        if at_once:
            self.admit()

    @rule()
    @precondition(lambda self: self.run.phase is Phase.QUEUED)
    def admit(self) -> None:
        self.move(self.run, Phase.PREPARING)

    @rule(mode=modes)
    @precondition(lambda self: self.run.phase not in ENDED)
    def stop(self, mode: StopMode) -> None:
        if self.run.stop is not StopMode.KILL:
            self.run = replace(self.run, stop=mode)
        if self.run.phase is Phase.QUEUED:
            self.move(self.run, stop_phase(mode))

    @rule()
    @precondition(lambda self: self.engine.status.phase is Seen.PENDING)
    def begins(self) -> None:
        self.engine.status = WorkloadStatus(phase=Seen.RUNNING)

    @rule(code=codes)
    @precondition(lambda self: self.engine.status.phase is Seen.RUNNING)
    def ends(self, code: int) -> None:
        self.ended_by_itself = True
        self.engine.end(code)

    @rule()
    @precondition(lambda self: self.engine.alive)
    def gets_lost(self) -> None:
        self.engine.status = WorkloadStatus(phase=Seen.LOST, reason=Reason.LOST)

    @rule()
    @precondition(lambda self: self.engine.status.phase is Seen.PENDING)
    def cannot_begin(self) -> None:
        self.ended_by_itself = True
        self.engine.end(None, Reason.CANNOT_START)

    @rule()
    @precondition(lambda self: self.held is None and self.run.phase in ACTIVE)
    def look(self) -> None:
        self.held = (self.run, self.engine.status if self.run.phase is not Phase.QUEUED else ABSENT)

    @rule()
    @precondition(lambda self: self.held is not None)
    def take(self) -> None:
        self.go(cut=None)

    @rule(cut=st.sampled_from([1, 1, 0, 2]))
    @precondition(lambda self: self.held is not None)
    def crash(self, cut: int) -> None:
        self.go(cut=cut)
        self.told = None

    @rule()
    @precondition(lambda self: self.run.phase is Phase.PREPARING and self.engine.status is ABSENT)
    def cannot_be_prepared(self) -> None:
        self.held = None
        self.move(self.run, Phase.FAILED)

    @rule()
    @precondition(lambda self: self.run.phase in ENDED and self.run.kind is Kind.NOTEBOOK and self.held is None)
    def start_again(self) -> None:
        self.move(self.run, Phase.QUEUED)
        self.run = replace(self.run, attempt=self.run.attempt + 1, stop=None)
        self.engine, self.told, self.ended_by_itself = Engine(self.engine.stubborn), None, False

    @rule()
    @precondition(lambda self: self.run.phase in ENDED)
    def time_goes_by(self) -> None:
        """Nothing happens to a run that has ended."""

    def teardown(self) -> None:
        """Let the platform work on undisturbed: it reaches the end, also of a program that would go on for ever."""
        wanted = self.run.stop
        decided = self.held[0].stop if self.held else None  # a step that is under way knows no later wish
        over = self.run.phase in ENDED or (self.engine.begun and not self.engine.alive)
        for _ in range(10):
            if self.run.phase in ENDED:
                break
            if self.run.phase is Phase.QUEUED:
                self.admit()
            if self.held is None:
                self.look()
            self.take()
            self.time_passes()
        assert self.run.phase in ENDED
        self.work_is_never_left_behind()
        if wanted and not over:
            assert self.run.phase in {stop_phase(mode) for mode in (wanted, decided) if mode}

    def time_passes(self) -> None:
        kill = StopMode.KILL in self.engine.asked
        if self.engine.status.phase is Seen.PENDING and not self.engine.asked:
            self.engine.status = WorkloadStatus(phase=Seen.RUNNING)
        elif self.engine.alive and (kill or (self.engine.asked and not self.hopeless())):
            self.engine.end(137 if kill else 143)
        elif self.engine.alive and self.run.stop is None:
            self.engine.end(0)

    def hopeless(self) -> bool:
        """A stubborn program with a long grace: nobody waits for it once a kill was asked for."""
        return self.engine.stubborn and self.run.stop is StopMode.KILL

    def go(self, *, cut: int | None) -> None:
        assert self.held is not None
        (run, seen), self.held = self.held, None
        step = next_step(run, seen, self.told)
        for effect in self.effects(run, seen, step)[:cut]:
            effect()

    def effects(self, run: Run, seen: WorkloadStatus, step: Step) -> list:
        if step is Step.PREPARE:
            return [self.engine.start]
        if step is Step.SEE_RUNNING:
            return [lambda: self.move(run, Phase.RUNNING)]
        if step is Step.ASK_TO_STOP:
            moved = [] if run.phase is Phase.STOPPING else [lambda: self.move(run, Phase.STOPPING)]
            return [*moved, lambda: self.engine.stop(run.stop), lambda: self.tell(run.stop)]
        if step is Step.COLLECT and run.phase is not Phase.COLLECTING:
            return [lambda: self.move(run, Phase.COLLECTING)]
        if step is Step.COLLECT:
            return [lambda: self.move(run, verdict(run, seen).phase), self.engine.forget]
        if step is Step.END:
            return [lambda: self.move(run, stop_phase(run.stop) if run.stop else Phase.FAILED)]
        return []

    def tell(self, mode: StopMode) -> None:
        self.told = mode

    def move(self, run: Run, to: Phase) -> None:
        assert to in EDGES[run.phase], f"{run.phase} -> {to}"
        if (self.run.phase, self.run.attempt) == (run.phase, run.attempt):
            self.run = replace(self.run, phase=to)

    @invariant()
    def work_is_never_left_behind(self) -> None:
        if self.run.phase in ENDED:
            assert not self.engine.alive


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestLife = Life.TestCase


@pytest.mark.parametrize("first", [StopMode.CANCEL, None])
def test_a_stop_that_a_crash_cut_off_from_the_engine_is_asked_for_again(first: StopMode | None) -> None:
    run = replace(some_run(), phase=Phase.STOPPING, stop=StopMode.KILL)
    running = WorkloadStatus(phase=Seen.RUNNING)
    assert next_step(run, running, first) is Step.ASK_TO_STOP
    assert next_step(run, running, StopMode.KILL) is Step.WAIT
