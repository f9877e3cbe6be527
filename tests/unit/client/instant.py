"""A driver without network and without waiting: requests go straight into the stub, and may be lost as a test says."""

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import Any

from fastapi.testclient import TestClient

from kqi.client.errors import ConnectionFailed
from kqi.client.http import API
from kqi.client.steps import ANSWERABLE, Answer, HttpRequest, Open, Opened, Pause, Read, Send, Together, Work, next_item

from .stub import TOKEN, Stub, app

PIECE = 1000  # bytes


class InstantDriver:
    """`losses` says for each request in turn what is lost: `request`, `answer`, all after some bytes, or None."""

    def __init__(self, stub: Stub, losses: Iterator[str | int | None] = iter(())) -> None:
        self.losses = losses
        self.pauses: list[float] = []
        self.requests: list[HttpRequest] = []
        self._http = TestClient(app(stub))

    def losing(self, losses: Iterator[str | int | None]) -> "InstantDriver":
        """Return a driver of the same stub that loses these."""
        other = copy(self)
        other.losses, other.pauses, other.requests = losses, [], []
        return other

    def run(self, steps: Any) -> Any:
        resume: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                return end.value
            try:
                answer = self._act(step)
            except ANSWERABLE as problem:
                resume = partial(steps.throw, problem)
            else:
                resume = partial(steps.send, answer)

    def each(self, stream: Any) -> Iterator[Any]:
        while (found := self.run(next_item(stream))) is not None:
            yield found.item

    def _act(self, step: Any) -> Any:
        match step:
            case Send(request):
                return self._send(request, next(self.losses, None))
            case Open(request):
                loss = next(self.losses, None)
                answer = self._send(request, None if isinstance(loss, int) else loss)
                return Opened(answer, _pieces(answer.content, loss if isinstance(loss, int) else None))
            case Read(opened):
                return next(opened.handle, b"")
            case Work(function):
                return function()
            case Together(jobs, _):
                return [self.run(job) for job in jobs]
            case Pause(seconds):
                self.pauses.append(seconds)

    def _send(self, request: HttpRequest, loss: str | int | None) -> Answer:
        self.requests.append(request)
        if loss == "request":
            raise ConnectionFailed("error.silent", server="test")
        query = {name: value for name, value in request.query.items() if value is not None}
        headers = {**request.headers, "Authorization": f"Bearer {TOKEN}"}
        answer = self._http.request(
            request.method, API + request.path, params=query, content=request.content, headers=headers
        )
        if loss is not None:
            raise ConnectionFailed("error.silent", server="test")
        return Answer(status=answer.status_code, headers=dict(answer.headers), content=answer.content)


def _pieces(content: bytes, cut_after: int | None) -> Iterator[bytes]:
    end = len(content) if cut_after is None else min(cut_after, len(content))
    for start in range(0, end, PIECE):
        yield content[start : min(start + PIECE, end)]
    if cut_after is not None:
        raise ConnectionFailed("error.cut", server="test", reason="lost")
