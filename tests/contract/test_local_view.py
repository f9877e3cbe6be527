"""What a workload of the local engine sees and is given, in every isolation that works on this machine."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kqi_spawner.backend import OpensPorts
from kqi_spawner.errors import CannotStart
from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.names import checked_name
from kqi_spawner.status import GpuKind
from kqi_spawner.workload import Access, Gpu, Link, Mount, Resources, Scratch, Secret

from .engines import HIDDEN, local
from .looks import ROOT_ONLY, folder, kept, private


async def test_mounts_are_shown_where_they_were_asked_for(local_engine):
    engine = local_engine
    split = folder(engine, "datasets/3/1/training")
    (engine.settings.store / split.text / "image.txt").write_text("pixels")
    mounts = (
        Mount(source=split, target="/kqi/input/training", access=Access.READ_ONLY),
        Mount(source=folder(engine, "runs/1/output"), target="/kqi/output", access=Access.READ_WRITE),
    )
    name = await engine.run(
        'cat "$KQI_ROOT/input/training/image.txt" "$KQI_ROOT/input/test/image.txt"; echo result > result;'
        ' echo extra > "$KQI_ROOT/input/extra" && echo " kept"; ls "$KQI_ROOT/output/input"',
        mounts=mounts,
        scratches=(Scratch(target="/kqi/input"),),
        links=(Link(target="/kqi/input/test", to="training"), Link(target="/kqi/output/input", to="../input")),
        workdir="/kqi/output",
    )
    assert await engine.output(name) == "pixelspixels kept\nextra\ntest\ntraining\n"
    assert (engine.settings.store / "runs/1/output/result").read_text() == "result\n"
    await engine.ended(name)
    assert list((engine.settings.state / "run").iterdir()) == []


async def test_a_single_file_is_mounted(local_engine):
    engine = local_engine
    source = folder(engine, "runs/1")
    (engine.settings.store / "runs/1/meta.json").write_text("{}")
    mount = Mount(source=source / "meta.json", target="/kqi/input/meta.json", access=Access.READ_ONLY)
    name = await engine.run('cat "$KQI_ROOT/input/meta.json"', mounts=(mount,))
    assert await engine.output(name) == "{}"


async def test_read_only_mounts_cannot_be_written_nor_remounted(local_engine):
    engine = local_engine
    if not private(engine):
        pytest.skip("links do not force it")
    mount = Mount(source=folder(engine, "datasets/1"), target="/kqi/input", access=Access.READ_ONLY)
    text = (
        "touch /kqi/input/x; mount -o remount,bind,rw /kqi/input;"
        " unshare --user --map-root-user --mount mount -o remount,bind,rw /kqi/input;"
        " unshare --user --map-root-user --mount umount /kqi/input; touch /kqi/input/x; ls /kqi/input | wc -l"
    )
    name = await engine.run(text, mounts=(mount,))
    assert (await engine.output(name)).splitlines()[-1] == "0"
    assert list((engine.settings.store / "datasets/1").iterdir()) == []


async def test_homes_runs_and_the_platform_itself_are_not_seen(local_engine):
    engine = local_engine
    if not private(engine):
        pytest.skip("links do not hide anything")
    (engine.settings.store / "homes").mkdir()
    other = folder(engine, "homes/bob")
    (engine.settings.store / other.text / "diary").write_text("private")
    mine = Mount(source=folder(engine, "homes/alice"), target="/home/alice", access=Access.READ_WRITE)
    text = (
        "echo hello > /home/alice/note; ls /home; ls -A /root;"
        f" cat {engine.settings.store}/homes/bob/diary; ls {engine.settings.state};"
        " ls /tmp | grep -c bob; ls -d /proc/[0-9]* | wc -l"
    )
    name = await engine.run(text, mounts=(mine,), environment={"HOME": "/home/alice"})
    output = await engine.output(name)
    assert "private" not in output
    assert "ledger" not in output
    assert output.startswith("alice\n")
    assert int(output.splitlines()[-1]) < 8
    assert (engine.settings.store / "homes/alice/note").read_text() == "hello\n"


async def test_a_folder_of_its_own_lies_beside_the_machines_ones(local_engine):
    engine = local_engine
    mine = Mount(source=folder(engine, "workspaces/alice"), target="/opt/alice", access=Access.READ_WRITE)
    there = sorted(entry.name for entry in Path("/opt").iterdir() if entry.is_dir())
    name = await engine.run(
        'echo kept > "$MINE/note"; touch /opt/*/written 2>/dev/null; ls /opt',
        mounts=(mine,),
        environment={"MINE": "/opt/alice"},
    )
    seen = (await engine.output(name)).split()
    assert (engine.settings.store / "workspaces/alice/note").read_text() == "kept\n"
    if private(engine):
        assert not list(Path("/opt").glob("*/written"))
        assert set(there) <= set(seen) and "alice" in seen


async def test_a_home_is_where_its_variable_says(local_engine):
    engine = local_engine
    mine = Mount(source=folder(engine, "homes/alice"), target="/home/alice", access=Access.READ_WRITE)
    name = await engine.run("cd; echo hello > note", mounts=(mine,), environment={"HOME": "/home/alice"})
    await engine.ended(name)
    assert (engine.settings.store / "homes/alice/note").read_text() == "hello\n"


async def test_a_hidden_file_of_the_machine_cannot_be_read(local_engine):
    if not private(local_engine):
        pytest.skip("links do not hide anything")
    assert HIDDEN.read_text()
    name = await local_engine.run(f"cat {HIDDEN} 2>/dev/null; cat {HIDDEN.parent}/passwd >/dev/null && echo others")
    assert await local_engine.output(name) == "others\n"


async def test_no_workload_is_root_nor_may_become_it(local_engine):
    name = await local_engine.run("id -u; grep -e NoNewPrivs -e CapEff -e CapPrm /proc/self/status")
    uid, *rest = (await local_engine.output(name)).split()
    assert int(uid) != 0
    assert rest == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1"]


@ROOT_ONLY
async def test_root_must_name_another_account(tmp_path):
    for run_as in (None, (0, 0), (0, 100)):
        places = LocalSettings(state=tmp_path / "s", store=tmp_path, environments=tmp_path, run_as=run_as)
        with pytest.raises(CannotStart):
            await LocalBackend.opened(places)


async def test_nothing_of_the_platforms_environment_is_handed_on(local_engine):
    os.environ["KQI_HUB__TEST_SECRET"] = "do-not-tell"
    try:
        name = await local_engine.run("env")
        output = await local_engine.output(name)
    finally:
        del os.environ["KQI_HUB__TEST_SECRET"]
    names = {line.partition("=")[0] for line in output.splitlines()}
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "PWD", "KQI_ROOT", "KQI_WORKLOAD", "VIRTUAL_ENV", "TMPDIR"}
    allowed |= {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
    assert names <= allowed | {name for name in names if name.endswith("_NUM_THREADS")}


async def test_descriptors_of_the_engine_are_not_handed_on(local_engine):
    name = await local_engine.run("ls /proc/self/fd | tr '\\n' ' '")
    assert await local_engine.output(name) == "0 1 2 3 "


async def test_what_asks_a_program_to_end_is_not_ignored_by_the_command(local_engine):
    name = await local_engine.run("grep SigIgn /proc/self/status")
    ignored = int((await local_engine.output(name)).split()[1], 16)
    # Others may be ignored already by whoever started the platform.
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
    assert [name.name for name in asking if ignored >> (name - 1) & 1] == []


async def test_a_secret_is_never_stored_nor_shown(local_engine):
    engine = local_engine
    secrets = {"TOKEN": Secret("marked-4711-secret")}
    name = await engine.run('[ "$TOKEN" = marked-4711-secret ] && echo up; exec sleep 600', secrets=secrets)
    await engine.said(name, "up")
    lines = [_read(entry / "cmdline") for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    stored = [_read(file) for file in kept(engine, name).rglob("*") if file.is_file()]
    assert stored
    # The test's own text is on the command line of the workload: count beyond it.
    command = b'[ "$TOKEN" = marked-4711-secret ]'
    assert not any(b"4711-secret" in line.replace(command, b"") for line in lines)
    assert not any(b"4711-secret" in text.replace(command, b"") for text in stored)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
IDENTIFIERS = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}Z\Z")
NAMES = st.from_regex(r"\A[A-Za-z_.-][A-Za-z0-9_.-]{0,12}\Z") | st.sampled_from(
    ["IFS", "PS4", "UID", "PPID", "LC_ALL", "_x", "x"]
)
ADDED = {
    "PATH",
    "HOME",
    "KQI_ROOT",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "_",
}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plain=st.dictionaries(NAMES, TEXTS, max_size=4), hidden=st.dictionaries(IDENTIFIERS, TEXTS, max_size=3))
def test_any_value_arrives_as_it_was(plain, hidden):
    plain = {name: value for name, value in plain.items() if name not in ADDED | set(hidden)}
    asyncio.run(_round_trip(plain, hidden))


async def _round_trip(plain: dict[str, str], hidden: dict[str, str]) -> None:
    async with local(Isolation.LINKS) as engine:
        secrets = {name: Secret(value) for name, value in hidden.items()}
        name = await engine.run("", command=("env", "-0"), environment=plain, secrets=secrets)
        output = await engine.output(name)
    told = dict(line.split("=", 1) for line in output.split("\0") if line)
    assert {name: told.get(name) for name in plain | hidden} == plain | hidden


async def test_chosen_cards_are_shown_and_all_others_hidden(local_engine):
    engine = local_engine
    text = 'echo "[$CUDA_VISIBLE_DEVICES] [$NVIDIA_VISIBLE_DEVICES]"'
    cards = (Gpu(kind="a100", index=1), Gpu(kind="a100", index=3))
    chosen = Resources(cpu_milli=1000, memory_mib=256, gpus=cards)
    assert await engine.output(await engine.run(text, resources=chosen)) == "[1,3] [1,3]\n"
    given = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    assert await engine.output(await engine.run(text, environment=given)) == "[] [none]\n"


async def test_made_up_cards_count_as_capacity(tmp_path):
    cards = (GpuKind(name="a100", indexes=(0, 1), memory_mib=81920),)
    run_as = (65534, 65534) if os.geteuid() == 0 else None
    places = LocalSettings(state=tmp_path / "s", store=tmp_path, environments=tmp_path, run_as=run_as, gpus=cards)
    backend = await LocalBackend.opened(places)
    seen = await backend.capacity()
    await backend.close()
    assert seen.gpus == cards
    assert seen.cpu_milli >= 1000
    assert seen.memory_mib > 0


async def test_ports_are_reached_on_this_machine(local_engine):
    assert isinstance(local_engine.backend, OpensPorts)
    assert await local_engine.backend.address(checked_name("notebook-1"), 8888) == ("127.0.0.1", 8888)
