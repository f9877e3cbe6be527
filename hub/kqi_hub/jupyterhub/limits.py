"""A bound on how often one network address may try to sign in."""

import math
from collections import OrderedDict
from collections.abc import Callable

_MINUTE_S = 60.0


class Attempts:
    """Counts attempts of each address within the last minute, or `window_s`; remembers at most `remembered` of them."""

    def __init__(
        self, per_window: int, clock: Callable[[], float], *, remembered: int = 10_000, window_s: float = _MINUTE_S
    ) -> None:
        self._per_window = per_window
        self._window_s = window_s
        self._clock = clock
        self._remembered = remembered
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Count an attempt; return 0, or for how many seconds there may be no further one (then it is not counted)."""
        now = self._clock()
        times = [time for time in self._times.pop(address, []) if now - time < self._window_s]
        refused = len(times) >= self._per_window
        if not refused:
            times.append(now)
        self._times[address] = times
        if len(self._times) > self._remembered:
            self._times.popitem(last=False)
        return max(1, math.ceil(self._window_s - (now - times[0]))) if refused else 0
