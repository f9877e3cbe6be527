"""What nobody will ask for is removed; what anybody may still ask for is not."""

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from kqi_hub.clock import now
from kqi_hub.data.store import StagedRow
from kqi_hub.data.sweep import DataSweep
from kqi_hub.datasets.sweep import TreeSweep
from kqi_hub.db.scope import Scope
from kqi_hub.runs.rows import RunRow
from kqi_hub.runs.sweep import LedgerSweep, archives, trees_at_work
from kqi_hub.settings import load
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from kqi_hub.testing.service import Running, free_port, running
from kqi_hub.web.repeated import RepeatedSweep
from kqi_spawner.memory import MemoryBackend
from kqi_spawner.names import checked_name
from kqi_spawner.status import Phase as Seen
from tests.integration.api.caller import Caller, sha256, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
PART = 2**16


async def swept(service: Running, *, hours: float = 0) -> None:
    """Sweep as if it were so many hours later."""
    store = Store(service.settings.store)
    await LedgerSweep(database=service.database, backend=service.backend).one_pass()
    await TreeSweep(database=service.database, files=store, at_work=trees_at_work).one_pass()
    later = timedelta(hours=hours)
    sweep = DataSweep(database=service.database, blobs=Blobs(store), named=archives, clock=lambda: now() + later)
    await sweep.one_pass()
    await RepeatedSweep(database=service.database, clock=lambda: now() + later).one_pass()


def blob(service: Running, content: bytes) -> Path:
    return Blobs(Store(service.settings.store)).path(sha256(content))


def incoming(service: Running) -> set[str]:
    return {path.name for path in (service.settings.store / "uploads").iterdir()}


def aged(path: Path, *, hours: float = 30) -> None:
    then = (now() - timedelta(hours=hours)).timestamp()
    os.utime(path, (then, then))


async def sent_earlier(service: Running, content: bytes, *, hours: float) -> None:
    async with service.database.write() as session:
        at = now() - timedelta(hours=hours)
        await session.execute(update(StagedRow).where(StagedRow.sha256 == sha256(content)).values(at=at))
    aged(blob(service, content), hours=hours)


async def begun(alice: Caller, content: bytes) -> Any:
    body = {"size": len(content), "sha256": sha256(content), "part_size": PART}
    return await alice.post("/uploads", body, 200)


async def part(alice: Caller, upload: str, number: int, content: bytes) -> int:
    piece = content[number * PART : (number + 1) * PART]
    answer = await alice.client.put(
        f"/uploads/{upload}/parts/{number}", content=piece, headers={"X-Part-Sha256": sha256(piece)}
    )
    return answer.status_code


async def laid_out(alice: Caller, dataset: int) -> None:
    while (await alice.get(f"/datasets/{dataset}"))["version"]["state"] == "pending":  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def gone(path: Path) -> None:
    while path.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def content_of(alice: Caller, data: int, path: str) -> bytes:
    answer = await alice.client.get(f"/data/{data}/content/{path}")
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_an_upload_that_nobody_touched_for_a_day_is_dropped(alice: Caller, service: Running) -> None:
    content = os.urandom(2 * PART)
    upload = (await begun(alice, content))["id"]
    assert await part(alice, upload, 0, content) == 204
    await swept(service, hours=23)
    assert (await alice.get(f"/uploads/{upload}"))["parts"] == [0]
    await swept(service, hours=25)
    await alice.get(f"/uploads/{upload}", 404)
    assert upload not in incoming(service)
    assert await part(alice, upload, 1, content) == 404
    await alice.post(f"/uploads/{upload}/complete", status=404)
    again = await begun(alice, content)
    assert again["id"] != upload and again["parts"] == []
    assert [await part(alice, again["id"], number, content) for number in (0, 1)] == [204, 204]
    assert (await alice.post(f"/uploads/{again['id']}/complete", status=200))["complete"]


async def test_a_data_whose_last_files_did_not_come_within_a_day_is_dropped(alice: Caller, service: Running) -> None:
    first, last = await alice.upload({"a": os.urandom(9), "b": b"b"})
    data = await alice.post("/data", {"name": "d", "files": [first], "more": True})
    place = f"/data/{data['id']}/files"
    await swept(service, hours=23)
    await alice.post(place, {"files": [last], "more": True}, 200)
    await swept(service, hours=25)
    await alice.post(place, {"files": [last]}, 404)
    assert not Blobs(Store(service.settings.store)).path(first["sha256"]).exists()


async def test_an_upload_that_goes_on_is_kept(alice: Caller, service: Running) -> None:
    content = os.urandom(2 * PART)
    upload = (await begun(alice, content))["id"]
    file = service.settings.store / "uploads" / upload
    aged(file)
    await swept(service, hours=1)  # its row was touched
    assert await part(alice, upload, 0, content) == 204
    aged(file, hours=-2)
    await swept(service, hours=25)  # a part is being written
    assert (await begun(alice, content))["parts"] == [0]


async def test_a_content_that_nobody_named_for_a_day_is_removed(alice: Caller, service: Running) -> None:
    content = os.urandom(9)
    files = await alice.upload({"file": content})
    await swept(service, hours=23)
    assert blob(service, content).exists()
    await swept(service, hours=25)
    assert not blob(service, content).exists()
    refused = await alice.post("/data", {"name": "late", "files": files}, 422)
    assert refused["code"] == "content_not_uploaded"
    assert (await alice.post("/blobs/find", {"sha256": [sha256(content)]}, 200))["sha256"] == []
    assert await content_of(alice, (await alice.data({"file": content}))["id"], "file") == content


async def test_who_asks_whether_a_content_is_there_may_rely_on_the_answer(alice: Caller, service: Running) -> None:
    content = os.urandom(9)
    files = await alice.upload({"file": content})
    await sent_earlier(service, content, hours=23.9)
    assert (await alice.post("/blobs/find", {"sha256": [sha256(content)]}, 200))["sha256"] == [sha256(content)]
    await swept(service, hours=1)
    data = await alice.post("/data", {"name": "just in time", "files": files})
    assert await content_of(alice, data["id"], "file") == content


async def test_a_content_goes_with_the_last_data_that_holds_it(
    alice: Caller, stranger: Caller, service: Running
) -> None:
    content = os.urandom(9)
    mine, theirs = await alice.data({"a": content}), await stranger.data({"b": content})
    await swept(service, hours=99)
    await alice.delete(f"/data/{mine['id']}")
    await swept(service, hours=99)
    assert await content_of(stranger, theirs["id"], "b") == content
    await stranger.delete(f"/data/{theirs['id']}")
    await swept(service, hours=99)
    assert not blob(service, content).exists()


async def test_packed_code_is_kept_for_as_long_as_a_run_was_made_of_it(alice: Caller, service: Running) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("say.sh")
        member.size = len(text := b"echo " + os.urandom(8).hex().encode())
        archive.addfile(member, io.BytesIO(text))
    await alice.upload({"code": packed.getvalue()})
    source = {"kind": "archive", "sha256": sha256(packed.getvalue())}
    run = await alice.train("sh say.sh", source=source)
    await alice.ended(run["id"])
    await swept(service, hours=99)
    copy = await alice.post(f"/trainings/{run['id']}/copy", {})
    assert (await alice.ended(copy["id"]))["phase"] == "completed"
    async with service.database.write() as session:
        await session.execute(delete(StagedRow).where(StagedRow.sha256 == source["sha256"]))
    for number in (run["id"], copy["id"]):
        await swept(service, hours=99)
        assert blob(service, packed.getvalue()).exists()
        await alice.delete(f"/trainings/{number}")
    await swept(service, hours=99)
    assert not blob(service, packed.getvalue()).exists()


async def test_trees_of_versions_that_are_gone_are_removed(alice: Caller, service: Running) -> None:
    data = [(await alice.data({"f": os.urandom(9)}))["id"] for _ in range(2)]
    kept, deleted = [await alice.dataset({"flat": data}) for _ in range(2)]
    for dataset in (kept, deleted):
        await laid_out(alice, dataset["id"])
    root = service.settings.store / "datasets"
    await alice.put(f"/datasets/{kept['id']}/entries", {"flat": data[:1]})
    await laid_out(alice, kept["id"])
    for half_made in (".1.building", ".2.building"):
        (root / str(kept["id"]) / half_made / "deep" / "er").mkdir(parents=True)
    await alice.delete(f"/datasets/{deleted['id']}")
    await swept(service)
    assert not (root / str(deleted["id"])).exists()
    assert [path.name for path in (root / str(kept["id"])).iterdir()] == ["1"]
    assert (root / str(kept["id"]) / "1" / str(data[0]) / "f").is_file()
    assert not (root / str(kept["id"]) / "1" / str(data[1])).exists()
    assert [path.name for path in root.iterdir() if not path.name.isdigit()] == []


async def test_a_tree_stays_while_a_run_shows_it(alice: Caller, service: Running) -> None:
    data = (await alice.data({"f": os.urandom(9)}))["id"]
    dataset = (await alice.dataset({"flat": [data]}))["id"]
    run = await alice.train("echo started; sleep 60", dataset={"id": dataset})
    await alice.says(run["id"], "started")
    assert (dataset, 1) in await at_work(service)
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, 200)
    await alice.ended(run["id"])
    assert (dataset, 1) not in await at_work(service)

    await alice.delete(f"/trainings/{run['id']}")
    await alice.delete(f"/datasets/{dataset}")
    tree = service.settings.store / "datasets" / str(dataset) / "1"
    replaced = tree.with_name(".1.ab.replaced")
    replaced.mkdir()

    async def shown(_scope: Scope) -> set[tuple[int, int]]:
        return {(dataset, 1)}

    await TreeSweep(database=service.database, files=Store(service.settings.store), at_work=shown).one_pass()
    assert (tree / str(data) / "f").is_file() and replaced.exists()
    await swept(service)
    assert not tree.exists() and not replaced.exists()


async def at_work(service: Running) -> set[tuple[int, int]]:
    async with service.database.read() as session:
        return await trees_at_work(Scope(session))


async def test_the_engine_forgets_runs_that_ended_and_no_other(alice: Caller, service: Running) -> None:
    ended, working = await alice.train("echo started; sleep 60"), await alice.train("echo started; sleep 60")
    for run in (ended, working):
        await alice.says(run["id"], "started")
    ledger = service.settings.state / "ledger"
    mine = ledger / f"training-{ended['id']}"
    facts = (mine / "facts.json").read_text()
    await alice.post(f"/trainings/{ended['id']}/stop", {"mode": "kill"}, 200)
    before = await alice.ended(ended["id"])
    await gone(mine)
    mine.mkdir()  # as a crash between the end and this step leaves it
    (mine / "facts.json").write_text(facts)
    (mine / "exit").write_text("code=137 reason=stopped finished=1.5\n")
    await swept(service)
    assert not mine.exists()
    assert await alice.get(f"/trainings/{ended['id']}") == before
    assert (ledger / f"training-{working['id']}").exists()
    assert (await alice.get(f"/trainings/{working['id']}"))["phase"] == "running"
    await alice.post(f"/trainings/{working['id']}/stop", {"mode": "kill"}, 200)
    assert (await alice.ended(working["id"]))["phase"] == "killed"


async def test_a_workload_that_outlived_its_run_is_stopped(alice: Caller, service: Running) -> None:
    run = await alice.train("echo started; sleep 60")
    await alice.says(run["id"], "started")
    name = checked_name(f"training-{run['id']}")
    async with service.database.write() as session:  # as a server that the hub started after its run was given up
        row = (RunRow.kind == "training") & (RunRow.number == run["id"])
        await session.execute(update(RunRow).where(row).values(phase="failed"))
    await swept(service)
    while (await service.backend.observe([name]))[name].phase is Seen.RUNNING:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await swept(service)
    assert not (service.settings.state / "ledger" / name).exists()


async def test_homes_and_results_are_never_touched(alice: Caller, service: Running) -> None:
    run = await alice.train("echo result >/kqi/output/file 2>/dev/null || echo result >$KQI_ROOT/output/file")
    await alice.ended(run["id"])
    store = service.settings.store
    (store / "homes" / "nobody" / "inner").mkdir(parents=True)
    (store / "homes" / "nobody" / "inner" / "file").write_text("mine")
    folders = [store / "runs" / "training" / str(run["id"]), store / "homes"]
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        aged(path, hours=9999)

    def seen() -> dict[str, float]:
        return {str(path): path.stat().st_mtime for folder in folders for path in folder.rglob("*")}

    before = seen()
    await swept(service, hours=9999)
    assert seen() == before
    assert any(path.endswith("output/file") for path in before)


async def test_a_content_that_is_sent_while_it_is_swept_is_kept(alice: Caller, service: Running) -> None:
    content = os.urandom(9)
    for _ in range(20):
        data = await alice.data({"file": content})
        await alice.delete(f"/data/{data['id']}")
        await sent_earlier(service, content, hours=30)
        made, _, _ = await asyncio.gather(alice.data({"file": content}), swept(service), swept(service))
        assert await content_of(alice, made["id"], "file") == content
        await alice.delete(f"/data/{made['id']}")


async def test_what_a_crash_left_aside_is_put_back_and_strays_go(alice: Caller, service: Running) -> None:
    content = os.urandom(9)
    data = await alice.data({"file": content})
    uploads = service.settings.store / "uploads"
    os.rename(blob(service, content), uploads / f".aside-{sha256(content)}")
    for name in (".batch-1", ".0123456789abcdef", "an-upload-without-a-row"):
        (uploads / name).touch()
        aged(uploads / name)
    (uploads / ".batch-2").touch()
    await swept(service)
    assert await content_of(alice, data["id"], "file") == content
    left = incoming(service)
    assert ".batch-2" in left and not left & {".batch-1", ".0123456789abcdef", "an-upload-without-a-row"}
    (uploads / ".batch-2").unlink()


@pytest.fixture
async def old_state(tmp_path: Path) -> AsyncIterator[Path]:
    orphan = tmp_path / "store" / "blobs" / "sha256" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    aged(orphan)
    yield tmp_path


async def test_the_service_sweeps_when_it_starts(old_state: Path) -> None:
    settings = load(environ={}, state=old_state, server={"port": free_port()})
    young = old_state / "store" / "blobs" / "sha256" / "ab" / ("abcd" * 16)
    young.touch()
    async with asyncio.timeout(20), running(settings, MemoryBackend()) as service:
        async with await signed_in(service, "alice", "sandbox") as alice:
            await alice.get("/tags")
        await gone(old_state / "store" / "blobs" / "sha256" / "ab" / ("ab" * 32))
        assert young.exists()


async def test_an_answer_is_kept_for_repetitions_for_a_day(service: Running, alice: Caller) -> None:
    headers = {"Idempotency-Key": "for-a-day"}
    first = await alice.post("/tokens", {"name": "ci"}, headers=headers)
    await swept(service, hours=23)
    assert await alice.post("/tokens", {"name": "ci"}, headers=headers) == first
    await swept(service, hours=25)
    assert (await alice.post("/tokens", {"name": "ci"}, headers=headers))["info"]["id"] != first["info"]["id"]
