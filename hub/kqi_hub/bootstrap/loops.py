"""What one process at a time does over and over."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from kqi_hub.background.lease import Lease
from kqi_hub.background.loop import Loop, each
from kqi_hub.data.sweep import DataSweep
from kqi_hub.datasets.sweep import TreeSweep
from kqi_hub.datasets.trees import LayoutLoop, Trees
from kqi_hub.runs.model import Run
from kqi_hub.runs.reconcile import ReconcileLoop, Reconciler
from kqi_hub.runs.sweep import LedgerSweep
from kqi_hub.web.repeated import RepeatedSweep

# Loops are woken by what happens; this is how long a lost wake-up would last.
SWEEP_S = 30.0
_CLEAN_S = 3600.0
Sweeps = Iterable[LedgerSweep | TreeSweep | DataSweep | RepeatedSweep]
Pass = tuple[Callable[[], Awaitable[None]], float]  # what a loop does, and how often unless it is woken


class Loops:
    """What one process at a time does: the one that holds the lease. They are woken from all."""

    def __init__(
        self, lease: Lease, reconciler: Reconciler, trees: Trees, sweeps: Sweeps, passes: Mapping[str, Pass]
    ) -> None:
        looping: dict[str, Any] = {"signals": lease.signals, "may": lambda: lease.held}
        self._lease = lease
        self._reconciler = reconciler
        self.reconcile = ReconcileLoop("reconcile", reconciler.one_pass, every_s=SWEEP_S, **looping)
        self.layout = LayoutLoop("layout", trees.lay_out_pending, every_s=SWEEP_S, **looping)
        self.clean = Loop("clean", lambda: each(sweep.one_pass for sweep in sweeps), every_s=_CLEAN_S, **looping)
        self.more = {
            name: Loop(name, one_pass, every_s=every_s, **looping) for name, (one_pass, every_s) in passes.items()
        }
        reconciler.wake = trees.ready = self.reconcile.wake_here

    def begin(self, run: Run) -> None:
        """Let the first step of a run that was recorded just now be taken, here or where the loops are."""
        if self._lease.held:
            self._reconciler.begin(run)
        else:
            self.reconcile.wake()

    async def run(self) -> None:
        """Go on until cancelled, or until one of them fails as none should."""
        loops = (self.reconcile, self.layout, self.clean, *self.more.values())
        try:
            async with asyncio.TaskGroup() as group:
                for work in (*(loop.run for loop in loops), self._reconciler.follow_backend):
                    group.create_task(work())
        finally:
            await self._reconciler.close()
