"""Requests with patience: repeated with back-off where that is safe, their answers parsed, their refusals raised."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from kqi.client.errors import ApiError, ConnectionFailed, Foreign, Refusal, Unavailable, UnexpectedAnswer, api_error
from kqi.client.steps import Answer, Emit, HttpRequest, Open, Opened, Pause, Send, Steps, Stream
from kqi.schema import Page, Problem
from kqi.texts import say

Model = TypeVar("Model", bound=BaseModel)
Query = Mapping[str, str | int | None]

DELAYS_S = (0.3, 0.6, 1.2, 2.4)
LONGEST_DELAY_S = 60  # a longer Retry-After is for people, not for loops
PAGE = 500


def send(request: HttpRequest) -> Steps[Answer]:
    """Return the answer to a request; refusals are raised as ApiError."""
    answer: Answer = yield from _attempts(request, Send)
    return answer


def open_body(request: HttpRequest) -> Steps[Opened]:
    """Return the beginning of an answer; refusals are raised as ApiError."""
    opened: Opened = yield from _attempts(request, Open)
    return opened


def get(model: type[Model], path: str, query: Query | None = None, silence_s: float = 60) -> Steps[Model]:
    answer = yield from send(HttpRequest(method="GET", path=path, query=query or {}, silence_s=silence_s))
    return parse(model, answer)


def put(model: type[Model], path: str, body: BaseModel, query: Query | None = None) -> Steps[Model]:
    return parse(model, (yield from _send_json("PUT", path, body, query)))


def patch(model: type[Model], path: str, body: BaseModel) -> Steps[Model]:
    return parse(model, (yield from _send_json("PATCH", path, body, None)))


def post(model: type[Model], path: str, body: BaseModel | None = None, query: Query | None = None) -> Steps[Model]:
    """Post once, however often it has to be sent: the key lets the server know a repetition."""
    return parse(model, (yield from _send_json("POST", path, body, query)))


def ask(model: type[Model], path: str, body: BaseModel | None = None, query: Query | None = None) -> Steps[Model]:
    """Post a question: nothing is made, so that the server need not know a repetition."""
    return parse(model, (yield from send(_request("POST", path, body, query))))


def delete(path: str) -> Steps[None]:
    yield from send(HttpRequest(method="DELETE", path=path))


def nothing(path: str, body: BaseModel | None = None) -> Steps[None]:
    """Post what is answered with nothing."""
    yield from _send_json("POST", path, body, None)


def replaced(model: type[Model], path: str, body: BaseModel) -> Steps[Model]:
    """Put over what is there just now; refused if somebody changes it in between."""
    seen = yield from send(HttpRequest(method="GET", path=path))
    headers = {"Content-Type": "application/json", "If-Match": seen.headers.get("etag", "")}
    content = body.model_dump_json(exclude_none=True).encode()
    return parse(model, (yield from send(HttpRequest(method="PUT", path=path, content=content, headers=headers))))


def pages(model: type[Model], path: str, query: Query, limit: int | None) -> Stream[Model]:
    """Emit the items of a list, page by page, up to `limit` of them."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = yield from get(Page[model], path, {**query, "limit": size, "cursor": cursor})  # type: ignore[valid-type]
        for item in page.items[:left]:
            yield Emit(item)
        left = None if left is None else left - len(page.items)
        cursor = page.next
        if cursor is None:
            return


def collected(stream: Stream[Model]) -> Steps[list[Model]]:
    """Return all items of a stream as a list."""
    items: list[Model] = []
    result = None
    while True:
        try:
            step = stream.send(result)
        except StopIteration:
            return items
        if isinstance(step, Emit):
            items.append(step.item)
            result = None
        else:
            result = yield step


def segment(text: str) -> str:
    """Return a relative path as it stands in a URL."""
    return quote(text, safe="/")


def parse(model: type[Model], answer: Answer) -> Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as problem:
        raise UnexpectedAnswer("error.not_kqi") from problem


def refused(answer: Answer) -> ApiError:
    """Return the error that an answer stands for, also one that a proxy or another program gave."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        refusal = Refusal(answer.status, f"http_{answer.status}", say("error.http", status=answer.status))
        return Foreign(refusal) if answer.status == 404 or answer.status >= 500 else api_error(refusal)
    refusal = Refusal(answer.status, problem.code, problem.detail)
    refusal.params = problem.params
    refusal.errors = problem.errors
    return api_error(refusal)


def _send_json(method: str, path: str, body: BaseModel | None, query: Query | None) -> Steps[Answer]:
    request = _request(method, path, body, query)
    if method == "POST":
        request = replace(request, headers={**request.headers, "Idempotency-Key": str(uuid4())})
    return send(request)


def _request(method: str, path: str, body: BaseModel | None, query: Query | None) -> HttpRequest:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    content = None if body is None else body.model_dump_json(exclude_none=True).encode()
    return HttpRequest(method=method, path=path, query=query or {}, content=content, headers=headers)


def _attempts(request: HttpRequest, step: type[Send] | type[Open]) -> Steps[Any]:
    for delay_s in _delays(request):
        try:
            result = yield step(request)
        except ConnectionFailed:
            if delay_s is None:
                raise
            yield Pause(_jittered(delay_s))
            continue
        answer: Answer = result.answer if step is Open else result
        if 200 <= answer.status < 300:
            return result
        error = refused(answer)
        wait_s = delay_s and _wait_s(answer, delay_s)
        if wait_s is None or not isinstance(error, Unavailable):
            raise error
        yield Pause(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _delays(request: HttpRequest) -> Iterator[float | None]:
    """Yield how long to wait after each attempt; None after the last."""
    if request.repeatable:
        yield from DELAYS_S
    yield None


def _wait_s(answer: Answer, delay_s: float) -> float | None:
    asked = answer.headers.get("retry-after", "")
    if not asked.isdigit():
        return _jittered(delay_s)
    return float(asked) if int(asked) <= LONGEST_DELAY_S else None


def _jittered(delay_s: float) -> float:
    # Many runs lose the same server at the same moment; they must not all come back in the same one.
    return delay_s * (0.75 + secrets.randbelow(500) / 1000)
