"""The language in which operations are written: generators that yield steps and return what became of them.

An operation does no input or output itself, so it is written once; a driver, blocking or awaiting, acts for it.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from kqi.client.errors import KqiError

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request; `path` lies below the API, or below the server where `outside` is set."""

    method: str
    path: str
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    content: bytes | Path | None = None  # a path: the bytes of that file, read while they are sent
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True  # sending it twice does what sending it once does
    silence_s: float = 60  # longest wait for the next bytes
    outside: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and answer all of its `Answer`, whatever the status."""

    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and answer an `Opened`, whose body is read piece by piece."""

    request: HttpRequest


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A body that is still coming; `answer.content` is filled only for refusals."""

    answer: Answer
    handle: object


@dataclass(frozen=True, slots=True)
class Read:
    """Answer the next bytes of an opened body, empty at its end."""

    opened: Opened


@dataclass(frozen=True, slots=True)
class Work:
    """Answer what a function returns; it may use the disk or the processor for a while."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Together:
    """Do several operations, `at_once` at a time, and answer their results in order."""

    jobs: "Iterable[Steps[Any]]"
    at_once: int


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[Item]):
    """Hand one item to the caller of a stream."""

    item: Item


Step = Send | Open | Read | Work | Together | Pause
Steps = Generator[Step, Any, Result]
Stream = Generator[Step | Emit[Item], Any, None]

# What a driver throws into an operation, which may answer it: all else is a defect or an interruption and passes by.
ANSWERABLE = (KqiError, OSError)


def next_item(stream: Stream[Item]) -> Steps[Emit[Item] | None]:
    """Go on with a stream up to its next item; None at its end."""
    resume: Callable[[], Step | Emit[Item]] = partial(next, stream)
    while True:
        try:
            step = resume()
        except StopIteration:
            return None
        if isinstance(step, Emit):
            return step
        try:
            result = yield step
        except ANSWERABLE as problem:
            resume = partial(stream.throw, problem)
        else:
            resume = partial(stream.send, result)


def work(function: Callable[[], Result]) -> Steps[Result]:
    result: Result = yield Work(function)
    return result


def together(jobs: Iterable[Steps[Result]], at_once: int) -> Steps[list[Result]]:
    results: list[Result] = yield Together(jobs, at_once)
    return results
