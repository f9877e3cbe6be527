"""A disk with a fault: the kernel makes its file system read-only below whoever has files open to write."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from tests import database
from tests.contract.looks import ROOT_ONLY
from tests.integration.api.caller import signed_in
from tests.integration.api.serving import new_state

pytestmark = [ROOT_ONLY, pytest.mark.timeout(120)]
_TOOLS = [name for name in ("mkfs.ext4", "e2fsck", "losetup") if shutil.which(name) is None]


@dataclass(frozen=True)
class Disk:
    """A file system in a file, mounted on `place`."""

    image: Path
    place: Path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self.image, self.place], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", self.place], check=True)

    def fail(self) -> None:
        """Let the file system find an error in itself."""
        words = ["findmnt", "-n", "-o", "SOURCE", self.place]
        device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("a test")

    def replace(self) -> None:
        """Do what an administrator does: repair it and mount it again."""
        self.unmount()
        assert subprocess.run(["e2fsck", "-fy", self.image], capture_output=True).returncode in {0, 1}
        self.mount()


@pytest.fixture
def disk() -> Iterator[Disk]:
    if _TOOLS:
        pytest.skip(f"a disk of one's own needs {', '.join(_TOOLS)}")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-fault-"))
    folder.chmod(0o755)
    found = Disk(folder / "image", folder / "store")
    found.place.mkdir()
    with found.image.open("wb") as image:
        image.truncate(64 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", found.image], check=True)
    try:
        found.mount()
    except subprocess.CalledProcessError:
        shutil.rmtree(folder)
        pytest.skip("this machine mounts no file as a disk")
    yield found
    found.unmount()
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def service(disk: Disk) -> AsyncIterator[Running]:
    own = {"server": {"port": free_port()}, "engine": {"cpu": 4, "memory_gb": 4}, "database": database.fresh()}
    with new_state() as state:
        async with running(load(environ={}, state=state, store=disk.place, **own)) as found:
            yield found


async def test_a_store_that_turns_read_only_below_a_run_ends_it_and_nothing_else(service: Running, disk: Disk) -> None:
    async with await signed_in(service, "alice", "sandbox") as alice:
        work = 'echo up; while echo more >>"$KQI_ROOT/output/f"; do sleep 0.05; done; exit 7'
        run = await alice.train(work, zip=True)
        await alice.says(run["id"], "up")
        disk.fail()
        ended = await alice.ended(run["id"])
        assert (ended["phase"], ended["exit_code"]) == ("failed", 7), ended
        assert ended["message"] == "store_read_only"  # what became of the zip
        answer = await alice.client.post(
            "/uploads/batch", content=b"\0" * 1024, headers={"Content-Type": "application/x-tar"}
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "store_read_only"), answer.text
        content = await alice.client.get(f"/trainings/{run['id']}/outputs/content/f")
        assert content.status_code == 200 and content.text.startswith("more\n")
        assert (await alice.log(run["id"])).startswith("up")
        waits = await alice.train("echo well")
        disk.replace()
        assert (await alice.ended(waits["id"]))["phase"] == "completed"
        await alice.delete(f"/trainings/{run['id']}")
