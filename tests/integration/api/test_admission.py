"""Limits of tenants and people, one queue for all, and creates that are repeated at the same time."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Capacity, Phase, WorkloadStatus
from tests.integration.api.caller import Caller, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def limited() -> AsyncIterator[Running]:
    """Room for everybody, but two at once for a person and three for a tenant; the engine starts without processes."""
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    limits = {"running_per_person": 2, "running_per_tenant": 3}
    settings = load(environ={}, state=state, server={"port": free_port()}, limits=limits)
    async with running(settings, MemoryBackend()) as found:
        yield found
    shutil.rmtree(state)


async def queued(caller: Caller) -> list[tuple[int, str]]:
    """Return (position, reason) of the caller's runs that wait, oldest first."""
    found = await caller.get("/trainings", params={"phase": "queued"})
    return [(item["queue"]["position"], item["queue"]["reason"]) for item in reversed(found["items"])]


class Crowded(MemoryBackend):
    """A cluster on which nothing finds a place."""

    async def observe(
        self, names: Collection[WorkloadName], *, anew: bool = False
    ) -> dict[WorkloadName, WorkloadStatus]:
        seen = await super().observe(names, anew=anew)
        return {
            name: replace(one, message="0/2 nodes are available") if one.phase is Phase.PENDING else one
            for name, one in seen.items()
        }


async def test_what_the_engine_waits_for_is_told_while_it_waits(tmp_path: Path) -> None:
    settings = load(environ={}, state=tmp_path, server={"port": free_port()})
    backend = Crowded(hold=True)
    async with running(settings, backend) as service, await signed_in(service, "alice", "one") as alice:
        run = await alice.train("true")
        async with asyncio.timeout(30):
            while not (run := await alice.get(f"/trainings/{run['id']}"))["message"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (run["phase"], run["message"]) == ("preparing", "0/2 nodes are available")
        backend.begin(WorkloadName(f"training-{run['id']}"))
        run = await alice.until(run["id"], "running")
        assert run["message"] == ""
        said = [
            (event["phase"], event["message"])
            for event in (await alice.get(f"/trainings/{run['id']}/events"))["events"]
        ]
        assert ("preparing", "0/2 nodes are available") in said


async def test_limits_hold_back_their_own_and_nobody_else(limited: Running) -> None:
    async with (
        await signed_in(limited, "alice", "one") as alice,
        await signed_in(limited, "bob", "one") as bob,
        await signed_in(limited, "carol", "two") as carol,
    ):
        mine = [await alice.train("true") for _ in range(3)]
        assert await queued(alice) == [(1, "waiting_for_person_limit")]
        his = [await bob.train("true") for _ in range(2)]
        hers = [await carol.train("true") for _ in range(2)]
        assert [run["phase"] == "queued" for run in [*mine, *his, *hers]] == [0, 0, 1, 0, 1, 0, 0]
        assert await queued(alice) == [(1, "waiting_for_tenant_limit"), (2, "waiting_for_tenant_limit")]
        assert await queued(carol) == []
        await bob.post(f"/trainings/{his[0]['id']}/stop", {"mode": "kill"}, 200)
        await bob.ended(his[0]["id"])
        # The place in the tenant goes to who is next and may: alice has her two already.
        assert (await bob.get(f"/trainings/{his[1]['id']}"))["phase"] != "queued"
        assert await queued(alice) == [(1, "waiting_for_tenant_limit")]
        await alice.post(f"/trainings/{mine[0]['id']}/stop", {"mode": "kill"}, 200)
        await alice.ended(mine[0]["id"])
        assert await queued(alice) == []


async def test_what_is_no_longer_there_holds_up_only_who_needs_it() -> None:
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-api-"))
    settings = load(environ={}, state=state, server={"port": free_port()})
    large, small = {"cpu": 3, "memory_gb": 1}, {"cpu": 1, "memory_gb": 1}
    async with running(settings, MemoryBackend()) as found, await signed_in(found, "alice", "one") as alice:
        notebook = await alice.post("/notebooks", {"resources": large})
        await alice.post(f"/notebooks/{notebook['id']}/stop", {"mode": "kill"}, 200)
        await alice.ended(notebook["id"], "notebooks")
        await alice.train("true", resources=large)
        waiting = await alice.train("true", resources=large)
        assert waiting["phase"] == "queued"
    less = MemoryBackend(Capacity(cpu_milli=2000, memory_mib=8192))
    async with running(settings, less) as found, await signed_in(found, "alice", "one") as alice:
        run = await alice.train("true", resources=small)
        assert (await alice.until(run["id"], "running"))["phase"] == "running"
        assert await queued(alice) == [(1, "waiting_for_cpu")]
        refused = await alice.post(f"/notebooks/{notebook['id']}/start", None, 422)
        assert refused["code"] == "more_cpu_than_there_is"
    shutil.rmtree(state)


async def test_creates_repeated_at_the_same_time_make_one_run(alice: Caller) -> None:
    for _ in range(5):
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        body = {"title": "once", "command": "true"}
        answers = await asyncio.gather(*[alice.client.post("/trainings", json=body, headers=headers) for _ in range(8)])
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await alice.get("/trainings"))["items"]) == 5


async def test_who_takes_more_memory_than_asked_for_is_told_so(alice: Caller) -> None:
    command = "python3 -c \"x = b'1' * (600 << 20); print(len(x))\""
    run = await alice.train(command, resources={"cpu": 1, "memory_gb": 0.25})
    ended = await alice.ended(run["id"])
    assert ended["phase"] == "failed", await alice.log(run["id"])
    # With a cgroup the kernel ends it; without, Python itself is refused the memory.
    assert ended["reason"] == "out_of_memory" or "MemoryError" in await alice.log(run["id"])
