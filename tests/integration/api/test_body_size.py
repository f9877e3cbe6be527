"""How much the API takes: a body that is read before anybody is asked who they are is bounded."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")
_MIB = 2**20
_BOUND_MIB = 64
_JSON = {"Content-Type": "application/json"}


async def _blanks(mib: int, and_then: bytes = b"") -> AsyncIterator[bytes]:
    for _ in range(mib):
        yield b" " * _MIB
    yield and_then


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/data"), ("PATCH", "/me"), ("POST", "/device"), ("POST", "/internal/launch")],
)
async def test_a_body_beyond_the_bound_is_refused_with_a_sentence(service: Running, method: str, path: str) -> None:
    url = f"{service.url}/services/kqi/api/v1{path}"
    async with httpx.AsyncClient(timeout=60) as nobody:
        headers = {**_JSON, "Content-Length": str(_BOUND_MIB * _MIB + 1)}
        answer = await nobody.request(method, url, content=_blanks(_BOUND_MIB, b" "), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
        within = await nobody.request(method, url, content=_blanks(_BOUND_MIB), headers=_JSON)
        assert within.status_code in {401, 422}, within.text  # blanks are no JSON, but they were read


async def test_a_body_without_an_end_is_not_read_on(service: Running) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        async for chunk in _blanks(2**20):
            sent += len(chunk)
            yield chunk

    async with httpx.AsyncClient(timeout=60) as nobody:
        with contextlib.suppress(httpx.TransportError):  # it is cut off while it sends
            url = f"{service.url}/services/kqi/api/v1/data"
            assert (await nobody.post(url, content=endless(), headers=_JSON)).status_code == 413
    assert _BOUND_MIB * _MIB <= sent < 2 * _BOUND_MIB * _MIB


async def test_what_comes_as_a_stream_has_a_bound_of_its_own(alice: Caller) -> None:
    run = await alice.train("true")
    place = f"/trainings/{run['id']}/attachments/large"
    answer = await alice.client.put(place, content=_blanks(_BOUND_MIB + 2))
    assert answer.status_code == 204, answer.text
