"""What every engine owes to the hub."""

import asyncio

import pytest

from kqi_spawner.backend import AnnouncesChanges
from kqi_spawner.errors import BackendError, UnknownImage
from kqi_spawner.names import checked_name
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Access, Gpu, Mount, Resources, Secret, StorePath

from .programs import (
    COPY,
    COUNT_CARDS,
    DEATHS,
    EXITS,
    IGNORE,
    LINGER,
    SAY_GOODBYE,
    SPEAK,
    TAKE,
    TELL_ENVIRONMENT,
)

NAMES = ("a", "training-1", "a--b", "z9", "notebook-9007199254740991", "x" * 63, "a" + "-0" * 31)


async def test_an_unknown_name_is_absent_and_may_be_stopped_and_forgotten(engine):
    name = checked_name("never-heard-of")
    await engine.backend.stop(name, grace_s=0)
    await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT
    assert [chunk async for chunk in engine.backend.logs(name, follow=True)] == []


@pytest.mark.parametrize("code", EXITS)
async def test_the_exit_code_is_the_commands_own(engine, code):
    seen = await engine.ended(await engine.run(EXITS[code]))
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, code, None)
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at


@pytest.mark.parametrize("number", DEATHS)
async def test_death_by_a_signal_is_128_and_its_number(engine, number):
    seen = await engine.ended(await engine.run(DEATHS[number]))
    assert (seen.exit_code, seen.reason) == (128 + number, None)


async def test_starting_twice_runs_once(engine):
    workload = engine.workload(SPEAK)
    await engine.backend.start(workload)
    await engine.backend.start(workload)
    assert await engine.output(workload.name) == "first\nsecond\n"
    await engine.backend.start(workload)
    assert (await engine.status(workload.name)).phase is Phase.EXITED
    assert await engine.output(workload.name) == "first\nsecond\n"


async def test_starting_at_the_same_moment_runs_once(engine):
    workload = engine.workload(SPEAK)
    await asyncio.gather(*(engine.backend.start(workload) for _ in range(8)))
    assert await engine.output(workload.name) == "first\nsecond\n"


async def test_logs_are_kept_after_the_end_until_forgotten(engine):
    name = await engine.run(SPEAK)
    await engine.ended(name)
    assert b"".join([chunk async for chunk in engine.backend.logs(name, follow=False)]) == b"first\nsecond\n"
    await engine.backend.forget(name)
    await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT


async def test_a_running_workload_is_not_forgotten(engine):
    name = await engine.run(LINGER)
    await engine.said(name, "up")
    with pytest.raises(BackendError):
        await engine.backend.forget(name)
    await engine.until(name, Phase.RUNNING)


async def test_several_readers_follow_one_log(engine):
    name = await engine.run(SAY_GOODBYE)
    await engine.said(name, "up")
    readers = [asyncio.create_task(engine.output(name)) for _ in range(3)]
    await engine.backend.stop(name, grace_s=30)
    told = await asyncio.gather(*readers)
    assert told == [told[0]] * 3
    assert told[0].startswith("up\n")
    assert "\nsaved\n" in told[0]


async def test_a_stop_lets_the_command_say_its_last_words(engine):
    name = await engine.run(SAY_GOODBYE)
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=30)
    await engine.backend.stop(name, grace_s=30)
    seen = await engine.ended(name)
    assert (seen.exit_code, seen.reason) == (5, Reason.STOPPED)
    assert "\nsaved\n" in await engine.output(name)  # a shell may say more of what it began


async def test_a_stop_ends_what_takes_no_heed_when_its_grace_is_over(engine):
    name = await engine.run(IGNORE)
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=0.2)
    seen = await engine.ended(name)
    assert (seen.exit_code, seen.reason) == (137, Reason.STOPPED)


async def test_a_shorter_grace_overtakes_a_longer_one(engine):
    name = await engine.run(IGNORE)
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=engine.long_grace_s)
    await engine.backend.stop(name, grace_s=0)
    assert (await engine.ended(name)).exit_code == 137


async def test_a_stop_without_grace_ends_at_once(engine):
    name = await engine.run(IGNORE)
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=0)
    seen = await engine.ended(name)
    assert (seen.exit_code, seen.reason) == (137, Reason.STOPPED)


async def test_a_stop_right_after_the_start_wins(engine):
    for grace_s in (0, 30):
        workload = engine.workload(LINGER)
        await engine.backend.start(workload)
        await engine.backend.stop(workload.name, grace_s=grace_s)
        assert (await engine.ended(workload.name)).reason is Reason.STOPPED
        await engine.backend.start(workload)
        assert (await engine.status(workload.name)).phase is Phase.EXITED


async def test_a_stop_after_the_end_changes_nothing(engine):
    name = await engine.run(EXITS[3])
    before = await engine.ended(name)
    await engine.backend.stop(name, grace_s=0)
    assert await engine.status(name) == before


async def test_variables_and_secrets_arrive(engine):
    given = {"PLAIN": "a b'c\"$d", "ODD.NAME": "x"}
    name = await engine.run(TELL_ENVIRONMENT, environment=given, secrets={"SECRET": Secret("s3 'cret'")})
    assert await engine.output(name) == "PLAIN=a b'c\"$d\nODD.NAME=x\nSECRET=s3 'cret'\n"


async def test_an_unknown_image_is_refused_with_the_known_ones(engine):
    workload = engine.workload(SPEAK, image="registry.example/nothing:1")
    with pytest.raises(UnknownImage, match="default"):
        await engine.backend.start(workload)
    assert (await engine.status(workload.name)).phase is Phase.ABSENT


async def test_every_end_is_announced(engine):
    assert isinstance(engine.backend, AnnouncesChanges)
    names = {await engine.run(SPEAK) for _ in range(4)}
    async with asyncio.timeout(60):
        async for name in engine.backend.changes():
            if (await engine.status(name)).phase is Phase.EXITED:
                names.discard(name)
            if not names:
                break


async def test_who_comes_after_takes_up_what_there_is(engine):
    """As after a restart of the platform."""
    over, at_work = engine.workload(SPEAK), engine.workload(SAY_GOODBYE)
    for workload in (over, at_work):
        await engine.backend.start(workload)
    before = await engine.ended(over.name)
    await engine.said(at_work.name, "up")
    await engine.until(at_work.name, Phase.RUNNING)
    after = await engine.reopen()
    try:
        for workload in (over, at_work):
            await after.start(workload)
        seen = await after.observe([over.name, at_work.name])
        assert seen[over.name] == before
        assert seen[at_work.name].phase is Phase.RUNNING
        assert b"".join([chunk async for chunk in after.logs(over.name, follow=True)]) == b"first\nsecond\n"
        await after.stop(at_work.name, grace_s=30)
        assert "\nsaved\n" in await engine.output(at_work.name)
        assert (await engine.ended(at_work.name)).exit_code == 5
    finally:
        if after is not engine.backend:
            await after.close()


@pytest.mark.parametrize("text", NAMES)
async def test_a_name_of_any_shape_is_one_workload(engine, text):
    name = await engine.run(SPEAK, name=checked_name(text))
    assert (await engine.ended(name)).exit_code == 0
    assert await engine.output(name) == "first\nsecond\n"
    await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT


async def test_mounts_show_the_store_and_keep_what_is_read_only(engine):
    given, taken = engine.store / "runs/given", engine.store / "runs/taken"
    for place in (given, taken):
        place.mkdir(parents=True)
        place.chmod(0o755)
    (given / "word").write_text("hello\n")
    (given / "word").chmod(0o644)
    engine.give(taken)
    mounts = (
        Mount(source=StorePath("runs/given"), target="/kqi/input", access=Access.READ_ONLY),
        Mount(source=StorePath("runs/taken"), target="/kqi/output", access=Access.READ_WRITE),
    )
    name = await engine.run(COPY, mounts=mounts)
    assert await engine.output(name) == "hello\nkept out\n"
    assert (taken / "out").read_text() == "result\n"
    assert [entry.name for entry in given.iterdir()] == ["word"]


async def test_memory_is_had_within_the_limit_and_not_beyond(engine):
    roomy, tight = (Resources(cpu_milli=1000, memory_mib=amount) for amount in (1024, 64))
    assert await engine.output(await engine.run(TAKE, resources=roomy)) == "had it\n"
    name = await engine.run(TAKE, resources=tight)
    assert (await engine.ended(name)).exit_code not in (0, None)
    assert await engine.output(name) == ""


async def test_cards_are_seen_as_many_as_were_asked_for(engine):
    if not engine.kind:
        pytest.skip("this cluster has no cards")
    for count in (0, 1, 2):
        cards = tuple(Gpu(kind=engine.kind, index=index) for index in range(count))
        resources = Resources(cpu_milli=1000, memory_mib=512, gpus=cards)
        assert await engine.output(await engine.run(COUNT_CARDS, resources=resources)) == f"{count}\n"
