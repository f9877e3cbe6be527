"""What a person reads while a server starts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kqi_spawner.status import Phase, Waiting, WorkloadStatus


class Step(StrEnum):
    """Where a start is; `spawn.<step>` is its text."""

    ASKED = "asked"
    SHARE = "share"
    ROOM = "room"
    PREPARATION = "preparation"
    IMAGE = "image"
    FAULT = "fault"
    BEGUN = "begun"


_PERCENT = {
    **{Step.ASKED: 5, Step.SHARE: 10, Step.ROOM: 10},
    **{Step.PREPARATION: 30, Step.IMAGE: 40, Step.FAULT: 40, Step.BEGUN: 70},
}
# These say already that it may take long.
_PATIENT = {Step.SHARE, Step.ROOM}


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A line for the person: the key of its text and what stands in it."""

    key: str
    percent: int
    params: dict[str, object]


@dataclass(slots=True)
class Account:
    """Tells each step once, and every `slow_s` seconds that it takes long."""

    slow_s: float
    _step: Step | None = None
    _since: float = 0.0
    _told: float = 0.0
    _message: str = field(default="", repr=False)

    def news(self, status: WorkloadStatus | None, now_s: float) -> Iterator[News]:
        """Yield what is new; `status` is None as long as nothing has been given to the engine."""
        step = step_of(status) or self._step or Step.ASKED
        message = status.message if status and step is Step.ROOM else ""
        if (step, message) != (self._step, self._message):
            if step is not self._step:
                self._since = self._told = now_s
            self._step, self._message = step, message
            yield News(key=f"spawn.{step.value}", percent=_PERCENT[step], params={"message": message})
        elif step not in _PATIENT and now_s - self._told >= self.slow_s:
            self._told = now_s
            minutes = max(1, round((now_s - self._since) / 60))
            yield News(key="spawn.slow", percent=_PERCENT[step], params={"minutes": minutes})


def step_of(status: WorkloadStatus | None) -> Step | None:
    """Return the step; None for a moment in which the engine cannot tell yet."""
    if status is None or status.phase is Phase.ABSENT:
        return Step.ASKED
    if status.phase is Phase.RUNNING:
        return Step.BEGUN
    return _STEPS.get(status.waiting) if status.waiting else None


_STEPS = {
    Waiting.SHARE: Step.SHARE,
    Waiting.ROOM: Step.ROOM,
    Waiting.PREPARATION: Step.PREPARATION,
    Waiting.IMAGE: Step.IMAGE,
    Waiting.FAULT: Step.FAULT,
}
