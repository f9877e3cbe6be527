"""The driver of `AsyncClient`: acts for an operation on the running event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
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


class AwaitingDriver:
    """Owns the connections of one `AsyncClient`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.AsyncClient(verify=endpoint.trust(), limits=limits())

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[Result]) -> Result:
        async with AsyncExitStack() as bodies:
            return await self._drive(steps, bodies)

    async def each(self, stream: Stream[Item]) -> AsyncIterator[Item]:
        async with AsyncExitStack() as bodies:
            while (found := await self._drive(next_item(stream), bodies)) is not None:
                yield found.item

    async def _drive(self, steps: Steps[Result], bodies: AsyncExitStack) -> Result:
        resume: Callable[[], Step] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: Result = end.value
                return result
            try:
                answer = await self._act(step, bodies)
            except ANSWERABLE as problem:
                resume = partial(steps.throw, problem)
            else:
                resume = partial(steps.send, answer)

    async def _act(self, step: Step, bodies: AsyncExitStack) -> Any:
        match step:
            case Send(request):
                return await self._send(self._endpoint.build(request))
            case Open(request):
                return await self._open(self._endpoint.build(request), bodies)
            case Read(opened):
                return await self._read(opened)
            case Work(function):
                return await asyncio.to_thread(function)
            case Together():
                return await self._together(step)
            case Pause(seconds):
                return await asyncio.sleep(seconds)

    async def _send(self, request: httpx.Request) -> Answer:
        try:
            return whole(await self._http.send(request))
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem

    async def _open(self, request: httpx.Request, bodies: AsyncExitStack) -> Opened:
        try:
            response = await self._http.send(request, stream=True)
            bodies.push_async_callback(response.aclose)
            if not response.is_success:
                await response.aread()
                return Opened(whole(response), None)
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem
        return Opened(head(response), response.aiter_raw())

    async def _read(self, opened: Opened) -> bytes:
        pieces: Any = opened.handle
        try:
            return await anext(pieces, b"")
        except httpx.HTTPError as problem:
            raise self._endpoint.failure(problem) from problem

    async def _together(self, step: Together) -> list[Any]:
        results: dict[int, Any] = {}
        jobs = enumerate(step.jobs)

        async def worker() -> None:
            for number, steps in jobs:
                results[number] = await self.run(steps)

        workers = [asyncio.create_task(worker()) for _ in range(step.at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[number] for number in sorted(results)]
