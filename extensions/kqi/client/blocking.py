"""The driver of `Client`: acts for an operation in the calling thread, and in a few more where it asks for that."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any, TypeVar

import httpx

from kqi.client.http import Endpoint, head, limits, whole
from kqi.client.steps import (
    ANSWERABLE,
    Answer,
    Open,
    Opened,
    Pause,
    Read,
    Send,
    Step,
    Steps,
    Stream,
    Together,
    Work,
    next_item,
)

Result = TypeVar("Result")
Item = TypeVar("Item")
Flags = tuple[Event, ...]  # set when another job of the same `Together`, or of one around it, has failed


class BlockingDriver:
    """Owns the connections of one `Client`. May be used by several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.Client(verify=endpoint.trust(), limits=limits())

    def close(self) -> None:
        self._http.close()

    def run(self, steps: Steps[Result]) -> Result:
        with ExitStack() as bodies:
            return self._drive(steps, bodies, ())

    def each(self, stream: Stream[Item]) -> Iterator[Item]:
        with ExitStack() as bodies:
            while (found := self._drive(next_item(stream), bodies, ())) is not None:
                yield found.item

    def _drive(self, steps: Steps[Result], bodies: ExitStack, given_up: Flags) -> Result:
        resume: Callable[[], Step] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: Result = end.value
                return result
            if any(flag.is_set() for flag in given_up):
                raise InterruptedError
            try:
                answer = self._act(step, bodies, given_up)
            except ANSWERABLE as problem:
                resume = partial(steps.throw, problem)
            else:
                resume = partial(steps.send, answer)

    def _act(self, step: Step, bodies: ExitStack, given_up: Flags) -> Any:
        match step:
            case Send(request):
                return self._send(self._endpoint.build(request))
            case Open(request):
                return self._open(self._endpoint.build(request), bodies)
            case Read(opened):
                return self._read(opened)
            case Work(function):
                return function()
            case Together():
                return self._together(step, given_up)
            case Pause(seconds):
                return time.sleep(seconds)

    def _send(self, request: httpx.Request) -> Answer:
        try:
            return whole(self._http.send(request))
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem

    def _open(self, request: httpx.Request, bodies: ExitStack) -> Opened:
        try:
            response = self._http.send(request, stream=True)
            bodies.callback(response.close)
            if not response.is_success:
                response.read()
                return Opened(whole(response), None)
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem
        return Opened(head(response), response.iter_raw())

    def _read(self, opened: Opened) -> bytes:
        pieces: Any = opened.handle
        try:
            return next(pieces, b"")
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem

    def _together(self, step: Together, given_up: Flags) -> list[Any]:
        failed = Event()
        results: dict[int, Any] = {}

        def job(number: int, steps: Steps[Any]) -> None:
            with ExitStack() as bodies:
                results[number] = self._drive(steps, bodies, (*given_up, failed))

        with ThreadPoolExecutor(step.at_once) as pool:
            try:
                _feed(pool, (partial(job, *numbered) for numbered in enumerate(step.jobs)), 2 * step.at_once)
            finally:
                failed.set()
        return [results[number] for number in sorted(results)]


def _feed(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], None]], at_most: int) -> None:
    """Keep the pool busy with `at_most` jobs at hand; raise the first failure."""
    running: set[Future[None]] = set()
    for job in jobs:
        running.add(pool.submit(job))
        if len(running) >= at_most:
            running = _settle(running)
    while running:
        running = _settle(running)


def _settle(running: set[Future[None]]) -> set[Future[None]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest
