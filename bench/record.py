"""What a benchmark found: ratios of medians of interleaved pairs, growth, and the physical bound beside them."""

import json
import math
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(kw_only=True)
class Record:
    """Times in seconds, unless `unit` says otherwise.

    `ratio` is ours / theirs at the largest `n`; `exponent` b of ours ~ n^b.
    """

    name: str
    peer: str
    n: list[int]
    ours: list[float]
    theirs: list[float]
    limit: dict[str, float]
    target: str
    unit: str = "s"
    versions: dict[str, str] = field(
        default_factory=lambda: {"python": platform.python_version(), "kernel": platform.release()}
    )

    @property
    def ratio(self) -> float:
        return self.ours[-1] / self.theirs[-1] if self.theirs else math.nan

    @property
    def exponent(self) -> float:
        return growth(self.n, self.ours)

    def _said(self, value: float) -> str:
        return f"{value * 1000:.1f} ms" if self.unit == "s" else f"{value:,.2f} {self.unit}"

    def keep(self) -> str:
        """Write the record and return a line about it."""
        RESULTS.mkdir(exist_ok=True)
        body = {**asdict(self), "ratio": _plain(self.ratio), "exponent": _plain(self.exponent)}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(body, indent=2) + "\n")
        pairs = ", ".join(
            f"n={n}: {self._said(mine)} / {self._said(other)} = {mine / other:.4f}"
            for n, mine, other in zip(self.n, self.ours, self.theirs, strict=True)
        )
        rest = f"growth {self.exponent:.2f}; limit {self.limit}; target {self.target}"
        return f"{self.name} beside {self.peer}: {pairs}; {rest}"


def growth(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Return b of the least-squares line through (log n, log t); 0 for a single size."""
    if len(sizes) < 2:
        return 0.0
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in times]
    return statistics.linear_regression(x, y).slope


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


async def timed_async(work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


def median_pairs(ours: Callable[[], float], theirs: Callable[[], float], pairs: int = 5) -> tuple[float, float]:
    """Return the medians of both, measured in turn."""
    found = [(ours(), theirs()) for _ in range(pairs)]
    return statistics.median(a for a, _ in found), statistics.median(b for _, b in found)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
