"""A disk that is full, or turns read-only, in the middle of an upload and of a run."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from tests import database
from tests.contract.looks import ROOT_ONLY
from tests.integration.api.caller import Caller, packed, signed_in

pytestmark = [ROOT_ONLY, pytest.mark.timeout(120)]
_SIZE_MIB = 48
_PART = 2**20


@pytest.fixture
def small() -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=0755", "kqi-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


@dataclass(frozen=True)
class Trouble:
    """What happens to the disk, what the service calls it, and what lies on that disk."""

    happens: Callable[[Path], AbstractContextManager[None]]
    code: str
    state_too: bool


@pytest_asyncio.fixture
async def service(small: Path, trouble: Trouble) -> AsyncIterator[Running]:
    state = small if trouble.state_too else Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-disk-"))
    state.chmod(0o755)
    place = state / "environments" / "default" / "bin"
    place.mkdir(parents=True)
    os.symlink("/usr/bin/python3", place / "python")
    machine = {"cpu": 4, "memory_gb": 4}
    with database.on_disk(small) if trouble.state_too else nullcontext(database.fresh()) as section:
        own = {"server": {"port": free_port()}, "engine": machine, "database": section}
        async with running(load(environ={}, state=state, store=small / "store", **own)) as found:
            yield found
    if not trouble.state_too:
        shutil.rmtree(state)


@pytest_asyncio.fixture
async def alice(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "alice", "sandbox") as caller:
        yield caller


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Take all the space there is until the block ends."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out:
        while True:
            try:
                out.write(b"\0" * 65536)
            except OSError:
                break
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


def torn(store: Path) -> list[str]:
    """Return the blobs that are not what their names say."""
    blobs = [path for path in (store / "blobs").rglob("*") if path.is_file()]
    return [path.name for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


async def begun(alice: Caller, content: bytes) -> str:
    """Begin an upload in parts of 1 MiB and send the first one."""
    asked = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "part_size": _PART}
    upload = await alice.post("/uploads", asked, status=200)
    assert (await part(alice, upload["id"], content, 0)).status_code == 204
    return str(upload["id"])


async def part(alice: Caller, upload: str, content: bytes, number: int) -> httpx.Response:
    chunk = content[number * _PART : (number + 1) * _PART]
    headers = {"X-Part-Sha256": hashlib.sha256(chunk).hexdigest()}
    return await alice.client.put(f"/uploads/{upload}/parts/{number}", content=chunk, headers=headers)


async def rest(alice: Caller, upload: str, content: bytes) -> None:
    """Send what is missing, and see that it is the same file."""
    done = (await alice.get(f"/uploads/{upload}"))["parts"]
    for number in set(range(len(content) // _PART)) - set(done):
        assert (await part(alice, upload, content, number)).status_code == 204
    assert (await alice.post(f"/uploads/{upload}/complete", status=200))["complete"]
    files = [{"path": "big.bin", "sha256": hashlib.sha256(content).hexdigest()}]
    data = await alice.post("/data", {"name": "big", "files": files})
    answer = await alice.client.get(f"/data/{data['id']}/content/big.bin")
    assert answer.content == content


def refused(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, code), answer.text
    assert answer.json()["detail"]


FULL = Trouble(filled, "disk_full", state_too=True)
STORE_FULL = Trouble(filled, "disk_full", state_too=False)
# A file system cannot be made read-only below a database that is open.
READ_ONLY = Trouble(read_only, "store_read_only", state_too=False)


@pytest.mark.parametrize("trouble", [FULL, STORE_FULL, READ_ONLY])
async def test_an_upload_that_meets_it_is_told_so_and_goes_on_later(
    alice: Caller, small: Path, trouble: Trouble
) -> None:
    content = os.urandom(4 * _PART)
    upload = await begun(alice, content)
    with trouble.happens(small):
        answers = [await part(alice, upload, content, number) for number in (1, 2)]
        batch = packed({"a": os.urandom(200_000)})
        headers = {"Content-Type": "application/x-tar"}
        answers.append(await alice.client.post("/uploads/batch", content=batch, headers=headers))
        for answer in answers:
            refused(answer, trouble.code)
        for path in ("/me", "/data", f"/uploads/{upload}"):
            assert (await alice.client.get(path)).status_code == 200
        if trouble.state_too:
            refused(await alice.client.post("/data", json={"name": "new", "files": []}), trouble.code)
    await rest(alice, upload, content)
    assert torn(small / "store") == []


@pytest.mark.parametrize("trouble", [FULL, STORE_FULL])
async def test_a_run_on_a_full_disk_ends_with_its_own_code_and_the_service_goes_on(
    alice: Caller, small: Path, trouble: Trouble
) -> None:
    write = 'dd if=/dev/zero bs=65536 count=1 >>"$KQI_ROOT/output/big" 2>/dev/null'
    run = await alice.train(f"echo up; while {write}; do sleep 0.05; done; exit 7", zip=True)
    await alice.says(run["id"], "up")
    with trouble.happens(small):
        if trouble.state_too:
            # PostgreSQL has room for a row in the pages that it has; a table without any rows has none.
            full = {"/data": {"name": "new", "files": []}, "/trainings": {"command": "true"}}
            for path in ("/data",) if database.ON_POSTGRES else full:
                refused(await alice.client.post(path, json=full[path]), trouble.code)
        await asyncio.sleep(2)
        assert (await alice.client.get(f"/trainings/{run['id']}")).status_code == 200
    ended = await alice.ended(run["id"])
    assert (ended["phase"], ended["exit_code"]) == ("failed", 7), ended
    assert (await alice.log(run["id"])).startswith("up")
    await alice.delete(f"/trainings/{run['id']}")
    after = await alice.ended((await alice.train("echo well"))["id"])
    assert after["phase"] == "completed"


@pytest.mark.parametrize("trouble", [READ_ONLY])
async def test_a_run_waits_for_a_store_that_can_be_written_again(alice: Caller, small: Path, trouble: Trouble) -> None:
    with trouble.happens(small):
        run = await alice.train("echo well")
        await asyncio.sleep(1)
        assert (await alice.get(f"/trainings/{run['id']}"))["phase"] == "preparing"
    assert (await alice.ended(run["id"]))["phase"] == "completed"
