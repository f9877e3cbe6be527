"""The desk of administrators: everything that its routes and loops share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from kqi_hub.administration.courier import Courier
from kqi_hub.administration.errands import Errands
from kqi_hub.administration.hub import Hub
from kqi_hub.administration.leaving import DELETE, HAND_OVER, Leaving
from kqi_hub.administration.suspend import Suspension
from kqi_hub.audit.seals import Keeper

# Who was suspended by a command, which can wake nobody, is out within a minute: a pass, and the grace of runs.
_SUSPEND_S = 10.0
_ERRANDS_S = 10.0
_AUDIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    keeper: Keeper
    suspension: Suspension
    errands: Errands
    leaving: Leaving
    hub: Hub
    courier: Courier

    @property
    def passes(self) -> Mapping[str, tuple[Callable[[], Awaitable[None]], float]]:
        """What the loops do, by name, and how often unless they are woken."""
        return {
            "audit": (self.keeper.one_pass, _AUDIT_S),
            "suspend": (self.suspension.one_pass, _SUSPEND_S),
            "errands": (self.errands.one_pass, _ERRANDS_S),
        }


def works(leaving: Leaving) -> Mapping[str, Callable[..., Awaitable[None]]]:
    """Return how each kind of errand is done."""
    return {HAND_OVER: leaving.hand_over, DELETE: leaving.delete}
