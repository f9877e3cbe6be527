"""The only one that acts on runs: recorded + observed -> next step -> take it -> compare-and-set the phase.

A crash at any point resumes from what is recorded, because every step may be repeated.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from kqi.schema import Phase, StopMode
from kqi_hub import crash
from kqi_hub.background.loop import Loop
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.errors import KqiError, Unavailable
from kqi_hub.identity import tokens
from kqi_hub.runs import store
from kqi_hub.runs.collect import zip_output
from kqi_hub.runs.kinds import TABLE
from kqi_hub.runs.model import Kind, Run, Step, next_step, stop_phase, verdict
from kqi_hub.runs.prepare import NotReady, Preparation
from kqi_hub.runs.service import RunService
from kqi_hub.runs.watch import Changes
from kqi_hub.storage.store import Store
from kqi_spawner.backend import AnnouncesChanges, ExecutionBackend
from kqi_spawner.errors import BackendError, CannotStart
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase as Seen
from kqi_spawner.status import WorkloadStatus
from kqi_spawner.workload import Workload

log = logging.getLogger(__name__)
_RETRY_S = 5.0
_FEW = 500  # more are not named one by one


class Launcher(Protocol):
    """Starts and stops notebooks at the hub, which owns their servers."""

    async def open(self, run: Run) -> str | None:
        """Ask the hub to start the server of this run, and wait for the end of the start. Idempotent.

        It asks us for the workload meanwhile. Return None if the server can be opened, else why not.
        """

    async def close(self, run: Run) -> None:
        """Ask the hub to stop it, also while it starts. Idempotent."""

    async def over(self, run: Run) -> None:
        """Tell the hub that it has ended; what has been started in its place goes on. Idempotent."""


class ReconcileLoop(Loop):
    """The loop that brings runs forward; every change of a run wakes it."""


@dataclass(slots=True, kw_only=True)
class Reconciler:
    database: Database
    backend: ExecutionBackend
    preparation: Preparation
    service: RunService
    files: Store
    launcher: Launcher
    changes: Changes
    may: Callable[[], bool]  # whether this process is the one that acts; asked before each step
    wake: Callable[[], None] = field(default=lambda: None)
    _working: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _opening: dict[WorkloadName, asyncio.Task[None]] = field(default_factory=dict)  # notebooks on their way up
    _asked: dict[int, StopMode] = field(default_factory=dict)
    _faults: dict[int, str] = field(default_factory=dict)  # what the hub said of a server that could not be opened
    _started: set[WorkloadName] = field(default_factory=set)  # by this process, since the last look at all
    _prepared: dict[WorkloadName, Workload] = field(default_factory=dict)  # for the hub, which is about to ask for it
    _changed: set[WorkloadName] = field(default_factory=set)
    _missed: set[WorkloadName] = field(default_factory=set)  # had a next step while another was under way
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def one_pass(self) -> None:
        """Look at every run that has not ended and begin its next step; steps of different runs go on side by side."""
        # Whether these starts were carried out in full is looked at once more.
        self._started.clear()
        self._prepared.clear()
        await self._look_at(store.active)

    async def _look_at(self, chosen: Callable[[Scope], Awaitable[Sequence[Run]]]) -> None:
        # One look at a time: what is recorded must not grow old beside another look until it is compared.
        async with self._looking:
            async with self.database.read() as session:
                runs = await chosen(Scope(session))
            await self._compare(runs)

    async def _compare(self, runs: Sequence[Run]) -> None:
        started = [run for run in runs if run.phase is not Phase.QUEUED]
        seen = await self.backend.observe([run.workload for run in started])
        # What has begun is not given up because of something that was not heard.
        begun = [run.workload for run in started if run.phase is not Phase.PREPARING]
        lost = [name for name in begun if seen[name].phase is Seen.ABSENT]
        if lost:
            seen |= await self.backend.observe(lost, anew=True)
        for run in runs:
            status = seen.get(run.workload) or WorkloadStatus(phase=Seen.ABSENT)
            self._begin(run, status)

    def begin(self, run: Run) -> None:
        """Take the first step of a run that was recorded just now, without a look at all the others."""
        self._begin(run, WorkloadStatus(phase=Seen.ABSENT))

    async def close(self) -> None:
        """End what is under way, and know nothing more: another process may go on with it."""
        tasks = [*self._working.values(), *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for known in (self._asked, self._faults):
            known.clear()

    def _begin(self, run: Run, seen: WorkloadStatus) -> None:
        step = next_step(run, seen, self._asked.get(run.key))
        if step is Step.PREPARE and run.workload in self._opening:
            return  # the hub was asked already, and is on its way
        if step is Step.PREPARE and self._waits(run, seen) and seen.message == run.message:
            return
        if step is Step.WAIT or not self.may():
            return
        if run.key in self._working:
            self._missed.add(run.workload)
            if run.stop:
                self.preparation.give_up(run)
        else:
            self._working[run.key] = asyncio.create_task(self._guarded(run, step, seen), name=f"run-{run.key}")

    def _waits(self, run: Run, seen: WorkloadStatus) -> bool:
        """Whether it was started and waits in the engine: nothing is to be done about that."""
        return seen.phase is Seen.PENDING and run.workload in self._started

    async def follow_backend(self) -> None:
        """Look at a run, and not at all others, whenever something of it has changed. Ends when cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_at_changed())
            if isinstance(self.backend, AnnouncesChanges):
                async for name in self.backend.changes():
                    if name not in self._opening:  # else the hub tells
                        self._look_again(name)

    def _look_again(self, name: WorkloadName) -> None:
        self._changed.add(name)
        self._news.set()

    async def _look_at_changed(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            names, self._changed = self._changed, set()
            try:
                await self._look_at(partial(store.active_of, names=names) if len(names) <= _FEW else store.active)
            except (KqiError, BackendError, OSError) as error:
                log.warning("a change cannot be looked at", exc_info=error)
                self.wake()  # to look at all is tried until it goes well

    async def _guarded(self, run: Run, step: Step, seen: WorkloadStatus) -> None:
        try:
            again = await self._take(run, step, seen)
        except (KqiError, BackendError, OSError) as error:
            log.warning(
                "step failed, will be tried again", extra={"run": run.workload, "step": step.value}, exc_info=error
            )
            again = False
            asyncio.get_running_loop().call_later(_RETRY_S, self.wake)
        finally:
            del self._working[run.key]
        self.changes.announce(run.key)
        if again or run.workload in self._missed:
            self._missed.discard(run.workload)
            self._look_again(run.workload)

    async def _take(self, run: Run, step: Step, seen: WorkloadStatus) -> bool:
        """Take the step; return whether to look again at once."""
        match step:
            case Step.PREPARE:
                if seen.phase is Seen.PENDING and seen.message != run.message:
                    await self._note_wait(run, seen.message)
                if self._waits(run, seen):
                    return False
                return await self._prepare(run)
            case Step.SEE_RUNNING:
                if run.kind is Kind.NOTEBOOK:
                    self._follow_start(run)
                    return False
                return not await self._move(run, Phase.RUNNING, started_at=seen.started_at or now())
            case Step.ASK_TO_STOP:
                return await self._ask_to_stop(run)
            case Step.COLLECT:
                return await self._collect(run, seen)
            case _:
                done = await self._end(run, stop_phase(run.stop) if run.stop else Phase.FAILED, "stopped")
                if run.phase is not Phase.QUEUED:  # a start that was cut may have left something in the engine
                    await self.backend.forget(run.workload)
                return done

    async def _prepare(self, run: Run) -> bool:
        crash.point("admitted")
        try:
            workload = await self.workload(run)
            crash.point("prepared")
            if run.kind is Kind.NOTEBOOK:
                self._prepared[run.workload] = workload
                self._follow_start(run)
                return False
            await self.backend.start(workload)
            crash.point("started")
            self._started.add(run.workload)
        except NotReady:
            return False
        except Unavailable:
            raise
        except CannotStart as error:
            return await self._end(run, Phase.FAILED, "cannot_start", str(error))
        except KqiError as error:
            return await self._end(run, Phase.FAILED, error.code, str(error.params.get("message", "")))
        return not isinstance(self.backend, AnnouncesChanges)

    async def _note_wait(self, run: Run, message: str) -> None:
        """Record what the engine says that it waits for."""
        async with self.database.write() as session:
            await store.say(Scope(session), run, message)

    def _follow_start(self, run: Run) -> None:
        if run.workload not in self._opening:
            self._opening[run.workload] = asyncio.create_task(self._open(run), name=f"opening-{run.key}")

    async def _open(self, run: Run) -> None:
        """A notebook is at work when it can be opened, which only the hub knows."""
        try:
            fault = await self.launcher.open(run)
            if fault is not None:
                await self._not_opened(run, fault)
            elif not await self._move(run, Phase.RUNNING, started_at=now()):
                await self._close_if_ended(run)
        except (KqiError, BackendError, OSError) as error:
            log.warning("a start cannot be followed, will be tried again", extra={"run": run.workload}, exc_info=error)
            asyncio.get_running_loop().call_later(_RETRY_S, self.wake)
            return
        finally:
            del self._opening[run.workload]
        self.changes.announce(run.key)
        self._look_again(run.workload)

    async def _close_if_ended(self, run: Run) -> None:
        """A server that came up for a run that is over is not kept; for one that is being stopped, the stop does it."""
        async with self.database.read() as session:
            found = await store.by_key(Scope(session), run.key)
        if found is None or found.phase.ended:
            await self.launcher.over(run)

    async def _not_opened(self, run: Run, fault: str) -> None:
        seen = (await self.backend.observe([run.workload])).get(run.workload)
        if seen is None or seen.phase is Seen.ABSENT:
            await self._end(run, Phase.FAILED, "cannot_start", fault)
        else:
            self._faults[run.key] = fault
            await self.backend.stop(run.workload, grace_s=0)

    async def workload(self, run: Run) -> Workload:
        """Bring the inputs and return what is to be started; the hub's Spawner asks for it too."""
        ready = self._prepared.pop(run.workload, None)
        return ready or TABLE[run.kind](run, await self.preparation.inputs(run))

    async def _ask_to_stop(self, run: Run) -> bool:
        if run.phase is not Phase.STOPPING:
            await self._move(run, Phase.STOPPING)
        crash.point("stopping")
        if run.kind is Kind.NOTEBOOK:
            await self.launcher.close(run)
        await self.backend.stop(run.workload, grace_s=0 if run.stop is StopMode.KILL else run.grace_s)
        if run.stop is not None:
            self._asked[run.key] = run.stop
        return False

    async def _collect(self, run: Run, seen: WorkloadStatus) -> bool:
        """Give back the resources at once, then pack the output, then end it."""
        if run.phase is not Phase.COLLECTING:
            times = {"started_at": run.started_at or seen.started_at, "finished_at": seen.finished_at}
            await self._let_go(run, Phase.COLLECTING, values={"exit_code": seen.exit_code, **times})
            crash.point("collecting")
            return True
        if run.workload in self._opening:
            # The hub is about to see it too, and to tell whoever waits why: to close it now would cut that short.
            return False
        message = ""
        if run.zip:
            try:
                await asyncio.to_thread(zip_output, self.files, run)
            except KqiError as error:
                message = error.code
        end = verdict(run, seen)
        crash.point("collected")
        fault = self._faults.pop(run.key, "")
        again = await self._end(run, end.phase, end.reason, message or seen.message or fault)
        if run.kind is Kind.NOTEBOOK:
            await self.launcher.over(run)
        await self.backend.forget(run.workload)
        return again

    async def _end(self, run: Run, phase: Phase, reason: str | None, message: str = "") -> bool:
        self._asked.pop(run.key, None)
        self._started.discard(run.workload)
        self._prepared.pop(run.workload, None)
        values = {"finished_at": run.finished_at or now()}
        if not await self._let_go(run, phase, values=values, reason=reason, message=message):
            return True
        self.service.ends.wake()
        log.info("run ended", extra={"run": run.workload, "phase": phase.value, "reason": reason})
        return False

    async def _let_go(self, run: Run, phase: Phase, *, values: Mapping[str, object], **said: Any) -> bool:
        """Move it to a phase in which it holds nothing any more, and begin those whom that lets start."""
        async with self.database.write() as session:
            scope = Scope(session)
            if not await store.move(scope, run, phase, values=values, **said):
                return False
            others = await self.service.let_go(scope, run)
            if phase.ended:
                await tokens.end_of_run(session, run.key)
                await self.service.ends.ended(session, run, phase, said["reason"])
        for other in others:
            self._look_again(other)
        return True

    async def _move(self, run: Run, phase: Phase, **values: object) -> bool:
        async with self.database.write() as session:
            return await store.move(Scope(session), run, phase, values=values)
