"""Two api processes: one of them acts, whoever took the request; it may be killed, or freeze, at any time."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kqi_hub.db.engine import Database
from kqi_hub.identity import people, tokens
from kqi_hub.settings import load
from tests import database
from tests.integration.replicas.conftest import POSTGRES_ONLY, person
from tests.replica import Replica

pytestmark = pytest.mark.timeout(240)
Two = tuple[Replica, Replica]


async def token(state: Path, section: dict[str, Any]) -> str:
    opened = Database.of(load(environ={}, state=state, database=section))
    async with opened.write() as session:
        tenant = await people.ensure_tenant(session, "t", "t")
        row = await people.ensure_person(session, "alice", tenant)
        secret, _ = await tokens.create(session, row.id, "test", lasts=timedelta(days=1))
    await opened.close()
    return secret.reveal()


def holder(state: Path, section: dict[str, Any]) -> int:
    """Return the number of the process that holds the lease, 0 for nobody."""
    rows = database.execute(state, section, "select owner from leases")
    return int(rows[0][0].split(" ")[2]) if rows and rows[0][0] else 0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def freeze(replica: Replica, state: Path, section: dict[str, Any]) -> None:
    """Stop a process, and not in the middle of a transaction: whoever is frozen there holds up all that write."""

    def frozen() -> bool:
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            database.execute(state, section, "update leases set beat = beat")
        except (sqlite3.OperationalError, psycopg.errors.LockNotAvailable):
            os.kill(replica.pid, signal.SIGCONT)
            return False
        return True

    until(frozen)


def ordered(two: Two, state: Path, section: dict[str, Any]) -> Two:
    """Return the one that acts, and the other."""
    until(lambda: holder(state, section) in {two[0].pid, two[1].pid})
    return two if holder(state, section) == two[0].pid else (two[1], two[0])


async def test_one_of_them_acts_and_the_other_takes_over_when_it_is_killed(
    two: Two, state: Path, section: dict[str, Any]
) -> None:
    acting, other = ordered(two, state, section)
    secret = await token(state, section)
    async with person(acting.url, secret) as alice:
        run = await alice.train("sleep 2; echo through")
        await alice.until(run["id"], "running")
    assert "lease taken" in "\n".join(acting.said) and "lease taken" not in "\n".join(other.said)
    acting.kill()
    async with person(other.url, secret) as alice:
        assert (await alice.ended(run["id"]))["phase"] == "completed"
        assert await alice.log(run["id"]) == "through\n"
        assert (await alice.ended((await alice.train("true"))["id"]))["phase"] == "completed"
    assert holder(state, section) == other.pid


async def test_who_stops_in_order_leaves_the_lease_to_the_other(two: Two, state: Path, section: dict[str, Any]) -> None:
    acting, other = ordered(two, state, section)
    acting.process.terminate()
    acting.process.wait(30)
    until(lambda: holder(state, section) == other.pid)
    async with person(other.url, await token(state, section)) as alice:
        assert (await alice.ended((await alice.train("true"))["id"]))["phase"] == "completed"


async def test_who_was_frozen_finds_that_another_acts_and_leaves_it_at_that(
    two: Two, state: Path, section: dict[str, Any]
) -> None:
    acting, other = ordered(two, state, section)
    secret = await token(state, section)
    freeze(acting, state, section)
    until(lambda: holder(state, section) == other.pid)
    os.kill(acting.pid, signal.SIGCONT)
    until(lambda: any("lease lost" in line for line in acting.said))
    async with person(other.url, secret) as alice:
        command = "echo once >>$KQI_ROOT/output/times; while [ ! -e $KQI_ROOT/attach/go ]; do sleep 0.05; done"
        runs = [await alice.train(command) for _ in range(3)]
        for run in runs:
            await alice.until(run["id"], "running")
            answer = await alice.client.put(f"/trainings/{run['id']}/attachments/go", content=b"")
            assert answer.status_code == 204
            assert (await alice.ended(run["id"]))["phase"] == "completed"
            times = await alice.client.get(f"/trainings/{run['id']}/outputs/content/times")
            assert times.text == "once\n"
            events = (await alice.get(f"/trainings/{run['id']}/events"))["events"]
            assert [event["phase"] for event in events].count("running") == 1
    assert holder(state, section) == other.pid


@POSTGRES_ONLY
async def test_a_run_that_is_submitted_at_one_is_followed_at_the_other(
    two: Two, state: Path, section: dict[str, Any]
) -> None:
    secret = await token(state, section)
    for here, there in (two, two[::-1]):
        async with person(here.url, secret) as one, person(there.url, secret) as another:
            run = await one.train("echo begun; while [ ! -e $KQI_ROOT/attach/go ]; do sleep 0.05; done; echo done")
            await another.says(run["id"], "begun")
            await another.until(run["id"], "running")
            answer = await another.client.put(f"/trainings/{run['id']}/attachments/go", content=b"")
            assert answer.status_code == 204
            assert (await one.ended(run["id"]))["phase"] == "completed"
            assert await another.log(run["id"], follow=True) == "begun\ndone\n"


@POSTGRES_ONLY
async def test_what_is_asked_of_the_one_that_does_not_act_is_done(
    two: Two, state: Path, section: dict[str, Any]
) -> None:
    _acting, other = ordered(two, state, section)
    async with person(other.url, await token(state, section)) as alice:
        data = await alice.data({"a.txt": b"x"})
        dataset = await alice.dataset({"flat": [data["id"]]})
        run = await alice.train(f"cat $KQI_ROOT/input/{data['id']}/a.txt", dataset={"id": dataset["id"]})
        assert (await alice.ended(run["id"]))["phase"] == "completed"
        assert await alice.log(run["id"]) == "x"
        stopped = await alice.train("sleep 600")
        await alice.until(stopped["id"], "running")
        await alice.post(f"/trainings/{stopped['id']}/stop", {"mode": "kill"}, 200)
        assert (await alice.ended(stopped["id"]))["phase"] == "killed"


async def test_a_request_that_is_repeated_at_the_other_makes_nothing_twice(
    two: Two, state: Path, section: dict[str, Any]
) -> None:
    secret = await token(state, section)
    async with person(two[0].url, secret) as one, person(two[1].url, secret) as another:
        key = {"Idempotency-Key": "the same", "Content-Type": "application/json"}
        first = await one.client.post("/data", json={"name": "once"}, headers=key)
        second = await another.client.post("/data", json={"name": "once"}, headers=key)
        assert first.status_code == second.status_code == 201 and first.json() == second.json()
        assert second.headers["Idempotent-Replayed"] == "true"
        begun = (await one.client.post("/device", json={"client": "c"})).json()
        pending = await another.client.post("/device/token", json={"device_code": begun["device_code"]})
        assert pending.json()["code"] == "authorization_pending"
