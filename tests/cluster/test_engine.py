"""The Kubernetes engine where only a cluster can show it: pods that cannot be, cards, outages, other people's Jobs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Access, Gpu, Link, Mount, Resources, Scratch, StorePath
from tests.cluster.harness.cluster import Cluster
from tests.cluster.test_harness import until
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.programs import EXITS, LINGER, SAY_GOODBYE
from tests.ldap_wire import Relay


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    async with kubernetes.engine(cluster) as made:
        yield made


def settings(engine: Engine):
    return engine.backend._settings


async def test_an_image_that_cannot_be_had_ends_it_with_the_clusters_own_words(engine: Engine) -> None:
    backend = await KubernetesBackend.opened(
        replace(settings(engine), platform="images", allowed_images=("localhost/*",))
    )
    workload = engine.workload(LINGER, image="localhost/nothing:1")
    other = Engine(backend, names=[workload.name])
    try:
        await backend.start(workload)
        seen = await other.ended(workload.name)
        assert (seen.phase, seen.reason, seen.exit_code) == (Phase.EXITED, Reason.CANNOT_START, None)
        assert "localhost/nothing:1" in seen.message
        await backend.forget(workload.name)
        assert (await other.status(workload.name)).phase is Phase.ABSENT
    finally:
        await other.close()


async def test_what_fits_nowhere_waits_with_the_schedulers_own_words(engine: Engine) -> None:
    name = await engine.run(LINGER, resources=Resources(cpu_milli=64_000, memory_mib=64))
    async with asyncio.timeout(30):
        async for changed in engine.backend.changes():
            seen = await engine.status(name)
            if changed == name and seen.message:
                break
    assert seen.phase is Phase.PENDING
    assert "Insufficient cpu" in seen.message
    await engine.backend.stop(name, grace_s=30)
    assert (await engine.ended(name)).reason is Reason.STOPPED


async def test_cards_are_counted_asked_for_and_given(engine: Engine) -> None:
    found = await engine.backend.capacity()
    assert [(kind.name, kind.indexes) for kind in found.gpus] == [("card", tuple(range(8)))]
    assert found.cpu_milli >= 2000 and found.memory_mib > 1000
    two = Resources(cpu_milli=100, memory_mib=64, gpus=(Gpu(kind="card", index=0), Gpu(kind="card", index=1)))
    name = await engine.run("echo $NVIDIA_VISIBLE_DEVICES", resources=two)
    assert len((await engine.output(name)).strip().split(",")) == 2
    strange = engine.workload(LINGER, resources=replace(two, gpus=(Gpu(kind="abacus", index=0),)))
    with pytest.raises(CannotStart, match="card"):
        await engine.backend.start(strange)


async def test_mounts_scratch_folders_and_links_are_as_on_every_engine(engine: Engine) -> None:
    store = settings(engine).store
    for folder in ("datasets/3/1/training", "runs/1/output"):
        (store / folder).mkdir(parents=True)
    (store / "datasets/3/1/training/image.txt").write_text("pixels")
    (store / "runs/1/output").chmod(0o777)
    data, output = StorePath("datasets/3/1/training"), StorePath("runs/1/output")
    name = await engine.run(
        "cat $KQI_ROOT/input/training/image.txt $KQI_ROOT/input/test/image.txt; echo result > result; id -u;"
        " touch $KQI_ROOT/input/training/x 2>/dev/null || echo closed; echo more > $KQI_ROOT/input/more",
        mounts=(
            Mount(source=data, target="/kqi/input/training", access=Access.READ_ONLY),
            Mount(source=output, target="/kqi/output", access=Access.READ_WRITE),
        ),
        scratches=(Scratch(target="/kqi/input"),),
        links=(Link(target="/kqi/input/test", to="training"),),
        workdir="/kqi/output",
    )
    assert await engine.output(name) == "pixelspixels1000\nclosed\n"
    assert (store / "runs/1/output/result").read_text() == "result\n"


async def test_a_job_of_somebody_else_is_left_alone(engine: Engine, cluster: Cluster) -> None:
    workload = engine.workload(LINGER)
    container = {"name": "main", "image": "localhost/busybox:1", "command": ["/bin/true"]}
    body = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    theirs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": workload.name}, "spec": body}
    space = settings(engine).namespace
    cluster.kubectl("-n", space, "apply", "-f", "-", text=json.dumps(theirs))
    with pytest.raises(CannotStart, match="somebody else"):
        await engine.backend.start(workload)
    await engine.backend.forget(workload.name)
    assert workload.name in cluster.kubectl("-n", space, "get", "jobs", "-o", "name")


async def test_what_ends_while_nobody_looks_is_known_afterwards(engine: Engine) -> None:
    ended, stopped = await engine.run(EXITS[3]), await engine.run(SAY_GOODBYE)
    await engine.said(stopped, "up")
    await engine.backend.stop(stopped, grace_s=30)
    await engine.backend.close()
    await asyncio.sleep(0)
    engine.backend = await engine.reopen()
    assert (await engine.ended(ended)).exit_code == 3
    seen = await engine.ended(stopped)
    assert (seen.exit_code, seen.reason) == (5, Reason.STOPPED)


async def test_nothing_is_left_of_what_was_forgotten(engine: Engine, cluster: Cluster) -> None:
    name = await engine.run(SAY_GOODBYE)
    await engine.said(name, "up")
    await engine.backend.stop(name, grace_s=30)
    await engine.ended(name)
    await engine.backend.forget(name)
    space = settings(engine).namespace
    words = ("-n", space, "get", "jobs,pods,secrets", "-o", "name")
    await asyncio.to_thread(until, lambda: not cluster.kubectl(*words))


async def test_the_watch_lives_after_the_apiserver_was_away(engine: Engine, cluster: Cluster) -> None:
    name = await engine.run("echo up; sleep 6; exit 7")
    await engine.until(name, Phase.RUNNING)
    control = cluster.control
    await asyncio.to_thread(control.stop_apiserver)
    await asyncio.sleep(5)
    assert (await engine.status(name)).phase is Phase.RUNNING
    await asyncio.to_thread(control.start_apiserver)
    assert (await engine.ended(name)).exit_code == 7


async def test_a_watch_that_hears_nothing_any_more_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    with kubernetes.space(cluster) as direct:
        said = cluster.kubeconfig.read_text()
        port = re.search(r"https://127\.0\.0\.1:(\d+)", said)
        assert port
        relay = Relay(int(port[1]))
        place = tmp_path / "kubeconfig"
        place.write_text(said.replace(port[0], f"https://127.0.0.1:{relay.port}"))
        made = Engine(await KubernetesBackend.opened(replace(direct, kubeconfig=place)))
        try:
            name = await made.run("echo up; sleep 3; exit 7")
            await made.said(name, "up")
            relay.freeze()
            assert (await made.ended(name)).exit_code == 7
        finally:
            await made.close()
            relay.close()
