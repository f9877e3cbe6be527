"""How workloads of the local engine begin and end, in every isolation that works on this machine."""

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import asyncinotify
import pytest

import kqi_spawner
from kqi_spawner.errors import BackendError, CannotStart
from kqi_spawner.local import ledger
from kqi_spawner.local.images import resolve
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.local.prepare import prepare
from kqi_spawner.names import checked_name
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Access, Mount, Resources, StorePath, Workload

from .engines import Engine
from .looks import ROOT_ONLY, folder, kept, processes_of
from .programs import IGNORE, LINGER, SPEAK


async def test_no_process_is_left_behind(local_engine):
    engine = local_engine
    daemon = "(setsid sh -c 'trap \"\" TERM HUP; sleep 600 & sleep 600' </dev/null >/dev/null 2>&1 &); echo up; exit 0"
    name = await engine.run(daemon)
    await engine.ended(name)
    assert processes_of(engine, name) == []


async def test_a_stopped_workload_leaves_no_process_behind(local_engine):
    engine = local_engine
    name = await engine.run("(setsid sh -c 'trap \"\" TERM; sleep 600' &); trap '' TERM; echo up; sleep 600; sleep 600")
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=0.2)
    await engine.ended(name)
    assert processes_of(engine, name) == []


async def test_helpers_of_the_command_get_the_grace_too(local_engine):
    engine = local_engine
    child = "trap 'echo child saved; exit' TERM; echo up; while :; do sleep 600 & wait; done"
    name = await engine.run(f'sh -c "{child}"; echo never')
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=30)
    seen = await engine.ended(name)
    assert seen.reason is Reason.STOPPED
    assert "child saved" in await engine.output(name)


async def test_a_killed_supervisor_means_lost_and_nothing_goes_on(local_engine):
    engine = local_engine
    name = await engine.run(IGNORE)
    await engine.said(name, "up")
    os.kill(int((kept(engine, name) / "pid").read_text()), signal.SIGKILL)
    seen = await engine.until(name, Phase.LOST)
    assert seen.reason is Reason.LOST
    assert processes_of(engine, name) == []
    assert list((engine.settings.state / "run").iterdir()) == []
    await engine.backend.start(engine.workload(SPEAK, name=name))
    assert (await engine.status(name)).phase is Phase.LOST
    assert await engine.output(name) == "up\n"


async def test_a_new_platform_process_finds_the_work_and_sees_its_end(local_engine):
    engine = local_engine
    shared = folder(engine, "runs/1")
    mount = Mount(source=shared, target="/kqi/output", access=Access.READ_WRITE)
    helper, name = await _started_elsewhere(engine, mount)
    os.kill(helper.pid, signal.SIGKILL)
    helper.wait()
    seen = await engine.until(name, Phase.RUNNING)
    assert seen.started_at is not None
    second = Engine(await engine.reopen(), settings=engine.settings)
    try:
        await second.said(name, "up")
        await second.backend.stop(name, grace_s=30)
        ended = await second.ended(name)
    finally:
        await second.backend.close()
    assert (ended.exit_code, ended.reason) == (143, Reason.STOPPED)
    assert await engine.ended(name) == ended


async def _started_elsewhere(engine, mount):
    where = engine.settings
    uid, gid = where.run_as or ("-", "-")
    helper = subprocess.Popen(  # noqa: ASYNC220
        [
            sys.executable,
            str(Path(__file__).with_name("crash_helper.py")),
            *(str(part) for part in (where.state, where.store, where.environments, where.isolation, uid, gid)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    helper.stdin.write("/\n")
    helper.stdin.flush()
    assert await asyncio.to_thread(helper.stdout.readline) == "started\n"
    name = checked_name("training-0")
    engine.names.append(name)
    return helper, name


async def test_what_was_recorded_but_not_begun_is_begun_by_the_next_start(local_engine):
    engine = local_engine
    workload = engine.workload(SPEAK)
    _record(engine, workload)
    assert (await engine.status(workload.name)).phase is Phase.PENDING
    await engine.backend.start(workload)
    assert await engine.output(workload.name) == "first\nsecond\n"


async def test_a_stop_before_the_start_wins_for_ever(local_engine):
    engine = local_engine
    workload = engine.workload(SPEAK)
    _record(engine, workload)
    await engine.backend.stop(workload.name, grace_s=30)
    seen = await engine.ended(workload.name)
    assert (seen.reason, seen.exit_code, seen.started_at) == (Reason.STOPPED, None, None)
    await engine.backend.start(workload)
    assert await engine.status(workload.name) == seen
    assert await engine.output(workload.name) == ""
    assert not (kept(engine, workload.name) / "script").exists()


def _record(engine: Engine, workload: Workload) -> None:
    """What is left when the platform dies between writing the ledger and starting the supervisor."""
    environment = resolve("", engine.settings.environments)
    prepare(engine.backend.engine, workload, environment)


async def test_too_little_memory_ends_it_and_says_so(local_engine):
    engine = local_engine
    tight = Resources(cpu_milli=1000, memory_mib=64)
    name = await engine.run("exec python3 -c 'x = bytearray(10 ** 9)'", resources=tight)
    seen = await engine.ended(name)
    assert seen.exit_code not in (0, None)
    if seen.exit_code == 137:
        assert seen.reason is Reason.OUT_OF_MEMORY


async def test_a_missing_source_is_refused_and_nothing_is_left(local_engine):
    engine = local_engine
    mount = Mount(source=StorePath("nowhere"), target="/kqi/input", access=Access.READ_ONLY)
    workload = engine.workload(SPEAK, mounts=(mount,))
    with pytest.raises(CannotStart, match="nowhere"):
        await engine.backend.start(workload)
    assert (await engine.status(workload.name)).phase is Phase.ABSENT
    assert [entry.name for entry in (engine.settings.state / "ledger").iterdir()] == []


async def test_a_planted_link_leads_nowhere(local_engine):
    engine = local_engine
    folder(engine, "homes/bob")
    (engine.settings.store / "homes/eve").symlink_to("bob")
    mount = Mount(source=StorePath("homes/eve"), target="/home/eve", access=Access.READ_WRITE)
    with pytest.raises(CannotStart, match="symbolic link"):
        await engine.backend.start(engine.workload(SPEAK, mounts=(mount,)))


async def test_a_missing_working_directory_is_told(local_engine):
    name = await local_engine.run(SPEAK, workdir="/does/not/exist")
    seen = await local_engine.ended(name)
    assert (seen.phase, seen.reason, seen.exit_code, seen.started_at) == (Phase.EXITED, Reason.CANNOT_START, None, None)
    assert "/does/not/exist" in seen.message


async def test_a_state_that_cannot_be_written_is_an_error_and_begins_nothing(local_engine):
    engine = local_engine
    (engine.settings.store / "blocked").write_text("a file where a folder should be")
    workload = engine.workload(SPEAK, log=StorePath("blocked/log"))
    with pytest.raises(BackendError):
        await engine.backend.start(workload)
    assert (await engine.status(workload.name)).phase is Phase.ABSENT
    assert list((engine.settings.state / "run").iterdir()) == []


async def test_the_lock_is_not_inherited_by_the_command(local_engine):
    engine = local_engine
    name = await engine.run(LINGER)
    await engine.said(name, "up")
    lock = os.stat(kept(engine, name) / "lock")
    holders = [pid for pid in processes_of(engine, name) if _holds(pid, lock)]
    assert holders == []
    with (kept(engine, name) / "lock").open() as opened, pytest.raises(BlockingIOError):
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holds(pid: int, lock: os.stat_result) -> bool:
    try:
        return any(os.path.samestat(entry.stat(), lock) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


_ORDINARY = ["exit-code", "read-only", "hidden", "no-privilege", "stop", "lost"]


@ROOT_ONLY
@pytest.mark.parametrize("isolation", Isolation)
def test_an_ordinary_user_is_served_as_well(isolation):
    """Once more without root, as a person would run it: by the system's Python, because ours may lie in root's home."""
    uid, gid = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid
    base = Path(tempfile.mkdtemp(prefix="kqi-ordinary-"))
    try:
        for package in (kqi_spawner, asyncinotify):
            shutil.copytree(Path(package.__file__).parent, base / "packages" / package.__name__)
        shutil.copy(Path(__file__).with_name("ordinary_user.py"), base)
        subprocess.run(["chown", "-R", f"{uid}:{gid}", str(base)], check=True)
        done = subprocess.run(
            [
                "setpriv",
                f"--reuid={uid}",
                f"--regid={gid}",
                "--clear-groups",
                "/usr/bin/python3",
                "ordinary_user.py",
                isolation,
            ],
            cwd=base,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "packages"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        shutil.rmtree(base)
    if "does not work on this machine" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout.split()) == (0, _ORDINARY), done.stderr


@ROOT_ONLY
async def test_a_full_disk_refuses_the_start_and_keeps_the_end(local_engine):
    engine = local_engine
    state = engine.settings.state
    await engine.backend.close()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0755", "kqi-full", str(state)], check=True)  # noqa: ASYNC221
    try:
        engine.backend = await engine.reopen()
        running = await engine.run(LINGER)
        await engine.said(running, "up")
        _fill(state / "ballast")
        late = engine.workload(SPEAK)
        with pytest.raises(BackendError):
            await engine.backend.start(late)
        assert (await engine.status(late.name)).phase is Phase.ABSENT
        assert [entry.name for entry in (state / "ledger").iterdir()] == [running]
        os.kill(max(processes_of(engine, running)), signal.SIGKILL)
        assert (await engine.ended(running)).exit_code == 137
        (state / "ballast").unlink()
        await engine.backend.start(late)
        assert (await engine.ended(late.name)).exit_code == 0
    finally:
        await engine.close()
        engine.names.clear()
        subprocess.run(["umount", "--lazy", str(state)], check=True)  # noqa: ASYNC221
        state.joinpath("ledger").mkdir(exist_ok=True)
        engine.backend = await engine.reopen()


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 1024)
        except OSError:
            return


async def test_a_crash_in_the_middle_of_forgetting_brings_nothing_back(local_engine, monkeypatch):
    engine = local_engine
    name = await engine.run(SPEAK)
    await engine.ended(name)
    with monkeypatch.context() as crashing:
        crashing.setattr(ledger.shutil, "rmtree", lambda *_, **__: None)
        await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT
    assert any(kept(engine, "").iterdir())
    again = await engine.reopen()
    await again.close()
    assert not any(kept(engine, "").iterdir())


async def test_a_stop_that_meets_an_end_leaves_nothing(local_engine):
    engine = local_engine

    async def over(name):
        while (await engine.status(name)).phase is not Phase.ABSENT:
            with suppress(BackendError):
                await engine.backend.forget(name)
            await asyncio.sleep(0.005)  # what they meet needs the processor, too

    async def stopping(name):
        while (await engine.status(name)).phase is not Phase.ABSENT:
            await engine.backend.stop(name, grace_s=1)
            await asyncio.sleep(0.005)

    for name in [await engine.run(":") for _ in range(10)]:
        await asyncio.gather(over(name), stopping(name), stopping(name))
    assert not any(kept(engine, "").iterdir())
