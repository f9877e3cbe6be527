"""The lease by itself, between processes that cannot see each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kqi_hub.background.lease import Lease, LeaseRow
from kqi_hub.background.process import is_gone, this_process
from kqi_hub.background.signals import Signals
from kqi_hub.db.engine import Database
from kqi_hub.settings import load
from kqi_hub.supervisor.folders import prepare_folders
from kqi_hub.supervisor.state import migrate_database

pytestmark = pytest.mark.timeout(60)


@pytest_asyncio.fixture
async def opened(tmp_path: Path, section: dict[str, Any]) -> AsyncIterator[Database]:
    settings = load(environ={}, state=tmp_path, database=section)
    prepare_folders(settings)
    migrate_database(settings)
    found = Database.of(settings)
    yield found
    await found.close()


def lease(opened: Database, owner: str, *, lasts_s: float = 0.6) -> Lease:
    """A lease of a process on another machine, for all that others can tell."""
    return Lease(
        database=opened, signals=Signals(), name="test", lasts_s=lasts_s, renew_s=0.1, look_s=0.05, owner=owner
    )


class Work:
    """Notes who is at it, and that nobody else is."""

    at_it: list[str]

    def __init__(self) -> None:
        self.at_it, self.done = [], []

    def of(self, lease: Lease, began: asyncio.Event) -> Any:
        async def work() -> None:
            assert self.at_it == []
            self.at_it.append(lease.owner)
            self.done.append(lease.owner)
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.at_it.remove(lease.owner)

        return work


async def test_one_works_and_the_next_begins_when_it_stops(opened: Database) -> None:
    work, began = Work(), {name: asyncio.Event() for name in ("a", "b")}
    leases = {name: lease(opened, name) for name in began}
    tasks = {name: asyncio.create_task(leases[name].hold(work.of(leases[name], began[name]))) for name in began}
    await asyncio.wait([asyncio.create_task(event.wait()) for event in began.values()], return_when="FIRST_COMPLETED")
    await asyncio.sleep(1.5)  # longer than it lasts: it is renewed
    first = work.at_it[0]
    second = ({"a", "b"} - {first}).pop()
    assert work.done == [first] and leases[first].held and not leases[second].held
    tasks[first].cancel()
    await asyncio.gather(tasks[first], return_exceptions=True)
    await began[second].wait()
    assert work.done == [first, second] and not leases[first].held
    tasks[second].cancel()
    await asyncio.gather(tasks[second], return_exceptions=True)


async def test_a_holder_that_is_heard_of_no_more_loses_it(opened: Database) -> None:
    async with opened.write() as session:
        session.add(LeaseRow(name="test", owner="elsewhere", beat=7))
    work, began, mine = Work(), asyncio.Event(), lease(opened, "mine")
    task = asyncio.create_task(mine.hold(work.of(mine, began)))
    async with asyncio.timeout(20):
        for _ in range(5):  # it is heard of
            await asyncio.sleep(0.2)
            async with opened.write() as session:
                row = await session.get_one(LeaseRow, "test")
                assert row.owner == "elsewhere"
                row.beat += 1
        await began.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_lost_it_stops_and_asks_again(opened: Database) -> None:
    work, began, mine = Work(), asyncio.Event(), lease(opened, "mine")
    task = asyncio.create_task(mine.hold(work.of(mine, began)))
    await began.wait()
    began.clear()
    async with opened.write() as session:
        row = await session.get_one(LeaseRow, "test")
        row.owner, row.beat = "thief", row.beat + 1
    async with asyncio.timeout(20):
        while work.at_it:  # noqa: ASYNC110 - what is cancelled tells nobody
            await asyncio.sleep(0.02)
        assert not mine.held
        await began.wait()  # nobody hears of the thief again
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_work_that_fails_is_begun_again(opened: Database) -> None:
    mine, times = lease(opened, "mine"), 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyError("no loop should")
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(mine.hold(work))
    async with asyncio.timeout(20):
        await again.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_only_a_process_that_has_certainly_ended_is_gone() -> None:
    child = await asyncio.create_subprocess_exec("sleep", "60")
    parts = this_process().split(" ")
    assert not is_gone(" ".join(parts))
    assert is_gone(" ".join([*parts[:3], "1", parts[4]]))  # the number is another process's by now
    assert not is_gone(" ".join([parts[0], "another-boot", *parts[2:3], "1", parts[4]]))
    assert not is_gone("whatever")
    child.kill()
    await child.wait()
    assert is_gone(" ".join([*parts[:2], str(child.pid), "12345", parts[4]]))
