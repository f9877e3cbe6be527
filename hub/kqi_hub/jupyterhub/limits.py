"""A bound on how often one network address may try to sign in."""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Collection

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


def network_address(forwarded: str, peer: str, trusted: Collection[str] = ()) -> str:
    """Return whose attempts are counted together: the last of X-Forwarded-For that is in no `trusted` network.

    Whoever asks may write X-Real-Ip and the front of X-Forwarded-For; only its end is our proxy's. An IPv6 network of
    64 bits counts as one, because one household is given so many addresses.
    """
    chain = [part.strip() for part in forwarded.split(",") if part.strip()]
    networks = [ipaddress.ip_network(one, strict=False) for one in trusted]
    found = next((part for part in reversed(chain) if not _in_any(part, networks)), peer)
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _in_any(text: str, networks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        given = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(given, "ipv4_mapped", None) or given
    return any(address in network for network in networks)
