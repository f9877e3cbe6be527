"""The Kubernetes engine where something was missed: a cut watch, a start that came to nothing, a pod that is gone."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kqi_spawner.errors import BackendError
from kqi_spawner.kubernetes import manifest, observe
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.settings import Claim
from kqi_spawner.status import Phase, Reason, Waiting
from kqi_spawner.workload import Access, Mount, Resources, Secret, VolumePath
from tests.cluster.harness.cluster import Cluster
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.contract.programs import LINGER, SAY_GOODBYE
from tests.ldap_wire import Relay


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    async with kubernetes.engine(cluster) as made:
        yield made


def settings(engine: Engine):
    return engine.backend._settings


async def test_what_another_process_began_is_found_by_who_hears_nothing(
    engine: Engine, cluster: Cluster, tmp_path: Path
) -> None:
    said = cluster.kubeconfig.read_text()
    port = re.search(r"https://127\.0\.0\.1:(\d+)", said)
    assert port
    relay = Relay(int(port[1]))
    place = tmp_path / "kubeconfig"
    place.write_text(said.replace(port[0], f"https://127.0.0.1:{relay.port}"))
    deaf = await KubernetesBackend.opened(replace(settings(engine), kubeconfig=place))
    try:
        relay.freeze()
        name = await engine.run(LINGER)
        await engine.until(name, Phase.RUNNING)
        assert (await deaf.observe([name]))[name].phase is Phase.ABSENT
        found = None
        async with asyncio.timeout(60):
            while found is None:
                with suppress(BackendError):  # by a connection that is half open, too
                    found = (await deaf.observe([name], anew=True))[name].phase
        assert found is Phase.RUNNING
    finally:
        await deaf.close()
        relay.close()


@pytest.mark.parametrize(("code", "means"), [(0, (Phase.EXITED, 0, None)), (3, (Phase.LOST, None, Reason.LOST))])
async def test_a_run_whose_pod_is_removed_after_its_end_has_ended(
    engine: Engine, cluster: Cluster, code: int, means: tuple[object, ...]
) -> None:
    name = await engine.run(f"exit {code}")
    assert (await engine.ended(name)).exit_code == code
    space = settings(engine).namespace
    job = f"job/{name}"
    ends = "condition=Complete" if code == 0 else "condition=Failed"
    await asyncio.to_thread(cluster.kubectl, "-n", space, "wait", f"--for={ends}", job, "--timeout=60s")
    cluster.kubectl("-n", space, "delete", "pods", "--all")
    late = await KubernetesBackend.opened(settings(engine))
    try:
        seen = (await late.observe([name]))[name]
        assert (seen.phase, seen.exit_code, seen.reason) == means
    finally:
        await late.close()


async def test_secrets_that_a_start_left_take_the_values_of_the_next(engine: Engine) -> None:
    left = engine.workload("echo $TOKEN", secrets={"TOKEN": Secret("of-the-start-before")})
    hidden = manifest.secret(left, settings(engine))
    assert hidden is not None
    await engine.backend._create(engine.backend._secrets, hidden)  # and then it died
    name = await engine.run("echo $TOKEN", name=left.name, secrets={"TOKEN": Secret("of-this-start")})
    assert await engine.output(name) == "of-this-start\n"


@pytest.mark.parametrize("port", [None, 8888])
async def test_a_start_that_was_cut_before_its_secret_was_there_is_made_whole_by_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, port: int | None
) -> None:
    client = engine.backend._client
    create = client.create

    async def cut(path: str, body: manifest.Manifest) -> object:
        if body["kind"] == "Secret":
            raise BackendError("the connection is lost")
        return await create(path, body)

    workload = engine.workload("echo $TOKEN", secrets={"TOKEN": Secret("of-the-next-start")}, port=port)
    with monkeypatch.context() as broken, pytest.raises(BackendError, match="lost"):
        broken.setattr(client, "create", cut)
        await engine.backend.start(workload)
    assert (await engine.status(workload.name)).phase is Phase.PENDING
    after = await KubernetesBackend.opened(settings(engine))
    try:
        await after.start(workload)
        assert await engine.output(workload.name) == "of-the-next-start\n"
    finally:
        await after.close()


async def test_how_a_server_ended_is_known_though_its_pod_is_gone(engine: Engine, cluster: Cluster) -> None:
    server = engine.workload(SAY_GOODBYE, port=8888)
    name = server.name
    await engine.backend.start(server)
    await engine.said(name, "up")
    await asyncio.to_thread(cluster.kubectl, "-n", settings(engine).namespace, "delete", "pod", name)
    async with asyncio.timeout(30):
        while name in engine.backend._cache._pods:  # noqa: ASYNC110 - the engine is tested
            await asyncio.sleep(0.05)
    await engine.backend.start(server)  # what has ended does not begin again
    seen = await engine.status(name)
    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 5)
    await engine.backend.forget(name)
    assert (await engine.status(name)).phase is Phase.ABSENT


_GONE = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {space}-gone}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  claimRef: {{namespace: {space}, name: gone}}
  hostPath: {{path: /nowhere/at/all, type: Directory}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: gone, namespace: {space}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: {space}-gone
  resources: {{requests: {{storage: 1Gi}}}}
"""


async def test_a_volume_that_cannot_be_mounted_is_told_in_the_nodes_own_words(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "SLOW_S", 2.0)
    with kubernetes.space(cluster) as plain:
        cluster.kubectl("apply", "-f", "-", text=_GONE.format(space=plain.namespace))
        backend = await KubernetesBackend.opened(replace(plain, volumes={"gone": Claim("gone", "")}))
        engine = Engine(backend)
        try:
            lost = Mount(source=VolumePath("gone", ""), target="/kqi/models", access=Access.READ_ONLY)
            name = await engine.run(LINGER, mounts=(lost,))
            async with asyncio.timeout(60):
                async for _ in backend.changes():
                    seen = await engine.status(name)
                    if seen.message:
                        break
            assert (seen.phase, seen.waiting) == (Phase.PENDING, Waiting.PREPARATION)
            assert "/nowhere/at/all" in seen.message
        finally:
            await engine.close()
            cluster.kubectl("delete", "pv", f"{plain.namespace}-gone", "--wait=false")


async def test_who_takes_more_memory_than_asked_for_is_told_so(engine: Engine) -> None:
    name = await engine.run("echo up; tail /dev/zero", resources=Resources(cpu_milli=200, memory_mib=64))
    seen = await engine.ended(name)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, 137, Reason.OUT_OF_MEMORY)


async def test_who_asked_for_no_card_sees_none(engine: Engine) -> None:
    name = await engine.run("env | grep VISIBLE_DEVICES | sort")
    assert await engine.output(name) == "CUDA_VISIBLE_DEVICES=\nNVIDIA_VISIBLE_DEVICES=void\n"
