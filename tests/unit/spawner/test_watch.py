"""A watch goes on whatever it meets, and what came after a list is not forgotten by it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kqi_spawner.errors import BackendError
from kqi_spawner.kubernetes import cache as cache_module
from kqi_spawner.kubernetes import watch
from kqi_spawner.kubernetes.cache import Cache
from kqi_spawner.kubernetes.client import Gone
from kqi_spawner.names import WorkloadName
from tests.unit.spawner.samples import PLAIN

Events = list[Any]


class Told:
    """A cluster that answers what the test says: lists, and events or a fault for each watch."""

    def __init__(self, lists: list[Any], watches: list[Events]) -> None:
        self.lists, self.watches = lists, watches

    async def get(self, _path: str, _query: object = None) -> dict[str, Any]:
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(found, Exception):
            raise found
        return {"items": found, "metadata": {"resourceVersion": "100"}}

    async def lines(self, _path: str, _query: object, *, silence_s: float) -> AsyncIterator[dict[str, Any]]:
        for event in self.watches.pop(0) if self.watches else []:
            if isinstance(event, Exception):
                raise event
            yield event
        if not self.watches:
            await asyncio.Event().wait()


def job(name: str, version: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kqi.io/workload": name},
        }
    }


async def followed(told: Told, until: Callable[[list[str]], bool]) -> list[str]:
    """Follow until what was heard is enough; return it."""
    heard: list[str] = []
    what = watch.Following(
        path="/jobs",
        replace=lambda found, version: heard.append(f"list of {len(found)} at {version}"),
        put=lambda found: heard.append(found["metadata"]["name"]),
        drop=lambda found: heard.append("gone"),
    )
    task = asyncio.create_task(watch.follow(told, what, asyncio.Event()))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        while not until(heard):
            assert not task.done(), task
            await asyncio.sleep(0.001)
    task.cancel()
    return heard


@pytest.mark.parametrize(
    "fault",
    [
        BackendError("cut"),
        AttributeError("no object"),
        KeyError("metadata"),
        Gone(410, "", ""),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_it_goes_on_after_any_fault(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FIRST_WAIT_S", 0.01)
    told = Told([[]], [[fault], [{"type": "ADDED", "object": job("later", 101)}]])
    assert "later" in await followed(told, lambda heard: "later" in heard)


async def test_a_list_that_is_refused_again_and_again_is_asked_for_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(watch.asyncio, "sleep", slept)
    told = Told([*[Gone(404, "NotFound", "")] * 4, []], [[]])
    await followed(told, bool)
    assert [pause for pause in waits if pause >= 0.1] == [0.1, 0.2, 0.4, 0.8]  # 0.001 are the test's own looks


async def test_what_was_made_after_a_list_is_not_forgotten_by_it() -> None:
    cache = Cache(PLAIN, None)  # type: ignore[arg-type]
    for name, version in (("training-1", 90), ("training-2", 110)):
        cache.put_job(job(name, version))
    cache._replace_jobs([], 100)
    assert not cache.knows(WorkloadName("training-1")) and cache.knows(WorkloadName("training-2"))


def pod(name: str, *, code: int | None = None) -> dict[str, Any]:
    made = job(name, 100 if code is None else 101)
    made["metadata"]["annotations"] = {"kqi.io/log": f"runs/{name}.log"}
    state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    return {**made, "status": {"containerStatuses": [{"name": "main", "state": state}]}}


async def test_how_a_pod_without_a_job_ended_is_known_after_its_removal_until_it_is_forgotten() -> None:
    cache = Cache(PLAIN, None)  # type: ignore[arg-type]
    name = WorkloadName("notebook-1")
    cache.put_pod(pod(name))
    cache._drop_pod(pod(name, code=143))
    found = cache.pod(name)
    assert found is not None and found.exit_code == 143
    assert cache.knows(name), "it has begun once, and does not begin again"
    cache.forget(name)
    assert cache.pod(name) is None and not cache.knows(name)


async def test_a_forgotten_pod_does_not_come_back_with_its_removal() -> None:
    cache = Cache(PLAIN, None)  # type: ignore[arg-type]
    name = WorkloadName("notebook-1")
    cache.put_pod(pod(name, code=0))
    cache.forget(name)
    cache._drop_pod(pod(name, code=0))
    assert cache.pod(name) is None


async def test_ends_that_nobody_forgets_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_PAST", 2)
    cache = Cache(PLAIN, None)  # type: ignore[arg-type]
    names = [WorkloadName(f"notebook-{number}") for number in range(3)]
    for name in names:
        cache.put_pod(pod(name))
        cache._drop_pod(pod(name, code=0))
    assert [cache.pod(name) is None for name in names] == [True, False, False]
