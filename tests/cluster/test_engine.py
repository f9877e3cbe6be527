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
from kqi_spawner.kubernetes.settings import Cards
from kqi_spawner.names import WorkloadName
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Access, Gpu, Link, Mount, Resources, Scratch, StorePath
from tests.cluster.conftest import SLICE
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


async def test_slices_of_cards_are_given_out_by_their_own_names(engine: Engine) -> None:
    """MIG profiles and cards shared by time are resources like whole ones; every node has one slice."""
    kinds = {"card": Cards(), "slice": Cards(resource=SLICE)}
    backend = await KubernetesBackend.opened(replace(settings(engine), platform="slices", cards=kinds))
    other = Engine(backend, names=engine.names, store=settings(engine).store)
    try:
        found = {kind.name: len(kind.indexes) for kind in (await backend.capacity()).gpus}
        assert found == {"card": 8, "slice": 2}
        one = Resources(cpu_milli=100, memory_mib=64, gpus=(Gpu(kind="slice", index=0),))
        runs = [await other.run(LINGER, resources=one) for _ in range(2)]
        for run in runs:
            await other.until(run, Phase.RUNNING)
        runs.append(await other.run(LINGER, resources=one))  # only now: the scheduler knows no order of ours
        await until_said(other, runs[2], f"Insufficient {SLICE}")
        nodes = {(await backend.pod(run))["spec"]["nodeName"] for run in runs[:2]}
        assert len(nodes) == 2
        await backend.stop(runs[0], grace_s=0)
        await other.ended(runs[0])
        await other.until(runs[2], Phase.RUNNING)
    finally:
        await other.close()


async def test_a_tenant_runs_on_the_nodes_of_its_partition_alone(engine: Engine, cluster: Cluster) -> None:
    names = [node["metadata"]["name"] for node in cluster.get("nodes")["items"]]
    for name, partition in zip(names, ("east", "west"), strict=True):
        cluster.kubectl("label", "node", name, f"example.org/partition={partition}")
    try:
        for name, partition in zip(names, ("east", "west"), strict=True):
            run = await engine.run(LINGER, nodes={"example.org/partition": (partition,)})
            await engine.until(run, Phase.RUNNING)
            assert (await engine.backend.pod(run))["spec"]["nodeName"] == name
        both = await engine.run(EXITS[0], nodes={"example.org/partition": ("east", "west")})
        assert (await engine.ended(both)).phase is Phase.EXITED
        nowhere = await engine.run(LINGER, nodes={"example.org/partition": ("north",)})
        await until_said(engine, nowhere, "node(s) didn't match")
    finally:
        for name in names:
            cluster.kubectl("label", "node", name, "example.org/partition-")


async def test_shared_memory_has_the_size_that_was_set(engine: Engine) -> None:
    name = await engine.run("df -m /dev/shm | tail -n 1", shm_mib=48)
    assert (await engine.output(name)).split()[1] == "48"


async def until_said(engine: Engine, name: WorkloadName, words: str) -> None:
    async with asyncio.timeout(30):
        while words not in (seen := await engine.status(name)).message:  # noqa: ASYNC110 - the engine is tested
            await asyncio.sleep(0.1)
    assert seen.phase is Phase.PENDING


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
