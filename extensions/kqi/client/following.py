"""Stay with a run while it works, over cuts and restarts of the server."""

from collections.abc import Callable
from typing import TypeVar

from kqi.client.errors import ConnectionFailed, Unavailable
from kqi.client.exchange import get, open_body
from kqi.client.steps import Emit, HttpRequest, Pause, Read, Steps, Stream
from kqi.schema import Phase, Run

Result = TypeVar("Result")
POLL_S = 30
PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
PATIENCE = 40  # attempts; about six minutes, the restart of a server with room to spare


def wait_until(path: str, there: Callable[[Run], bool]) -> Steps[Run]:
    """Return the run as soon as `there` says so."""
    run = yield from get(Run, path)
    while not there(run):
        # The server holds the answer back; the pause is for one that does not.
        yield Pause(PAUSE_S)
        query = {"wait_s": POLL_S, "unless": run.phase.value}
        run = yield from patiently(lambda query=query: get(Run, path, query, POLL_S + 30))  # type: ignore[misc]
    return run


def ended(run: Run) -> bool:
    return run.phase.ended


def opens(run: Run) -> bool:
    """Tell whether a notebook can be opened, or never will."""
    return run.phase.ended or (run.phase is Phase.RUNNING and run.url is not None)


def follow(path: str) -> Stream[bytes]:
    """Emit the log of a run from its beginning to its end, each byte once."""
    offset = 0
    failures = 0
    while True:
        run = yield from patiently(lambda: get(Run, path))
        request = HttpRequest(method="GET", path=f"{path}/log", query={"follow": "true", "offset": offset})
        before = offset
        try:
            opened = yield from open_body(request)
            while piece := (yield Read(opened)):
                offset += len(piece)
                yield Emit(piece)
        except (ConnectionFailed, Unavailable):
            failures = 0 if offset > before else failures + 1
            if failures > PATIENCE:
                raise
        else:
            # What was written between the end of a body and the end of the run comes with the next body.
            if run.phase.ended:
                return
            failures = 0
        yield Pause(_pause_s(failures))


def patiently(make: Callable[[], Steps[Result]]) -> Steps[Result]:
    """Return the result of an operation, begun again while the server cannot be reached."""
    for attempt in range(PATIENCE):
        try:
            return (yield from make())
        except (ConnectionFailed, Unavailable):
            yield Pause(_pause_s(attempt))
    return (yield from make())


def _pause_s(failures: int) -> float:
    return min(PAUSE_S * 2.0**failures, LONGEST_PAUSE_S)
