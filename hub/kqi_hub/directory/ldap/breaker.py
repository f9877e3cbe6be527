"""Which servers are asked, in which order. Pure but for its own memory; the time is handed in."""

import threading
from dataclasses import dataclass

_FIRST_S, _LONGEST_S = 1.0, 30.0


@dataclass(slots=True)
class _Health:
    failures: int = 0
    failed_at: float = 0.0
    shut_until: float = 0.0


class Breaker:
    """A server that failed is left alone for a second, and for twice as long after each failure, up to 30 seconds.

    Then one call tries it, while the others still go round it. From several threads.
    """

    def __init__(self, servers: int) -> None:
        self._health = [_Health() for _ in range(servers)]
        self._lock = threading.Lock()

    def turn(self, now: float, tried: frozenset[int] = frozenset()) -> int | None:
        """Return the server to ask, the first that is well and not yet `tried`; None: none is to be asked."""
        with self._lock:
            for number, health in enumerate(self._health):
                if number in tried or health.shut_until > now:
                    continue
                if health.failures:  # this call finds out for all
                    health.shut_until = now + _pause_s(health.failures)
                return number
        return None

    def good(self, server: int) -> None:
        with self._lock:
            self._health[server] = _Health()

    def bad(self, server: int, now: float) -> None:
        with self._lock:
            health = self._health[server]
            # Many that were under way together fail together: they are one failure.
            if not health.failures or now - health.failed_at >= _pause_s(health.failures):
                health.failures, health.failed_at = health.failures + 1, now
            health.shut_until = max(health.shut_until, now + _pause_s(health.failures))


def _pause_s(failures: int) -> float:
    return float(min(_LONGEST_S, _FIRST_S * 2 ** min(failures - 1, 10)))
