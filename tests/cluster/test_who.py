"""Who people are inside of their pods, by the policy of their tenant: on real nodes, with one store for all."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import spaces
from kqi_spawner.kubernetes.settings import Space, Who
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Access, Mount, StorePath
from tests.cluster.harness import images
from tests.cluster.harness.cluster import Cluster, busybox
from tests.contract import kubernetes
from tests.contract.engines import Engine

_WHO = {"plain": Who.ACCOUNT, "own": Who.IMAGE, "people": Who.PERSON, "rooted": Who.ROOT}
_TELL = "id -u; id -g; id -G; umask; echo result > /kqi/output/file; cat /proc/self/uid_map"
_ROOTED = "localhost/rooted:1"
_OUTPUT = StorePath("runs/1/output")


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    with kubernetes.space(cluster) as plain:
        apart = f"{plain.namespace}-root"
        cluster.kubectl("create", "namespace", apart)
        cluster.kubectl("label", "namespace", apart, "pod-security.kubernetes.io/enforce=baseline")
        cluster.kubectl("apply", "-f", "-", text=kubernetes.claim(apart, plain.store))
        root = Space(namespace=apart, claim="store")
        settings = replace(plain, who=_WHO, accounts={"hanako": (2001, 2002)}, root=root)
        settings = replace(settings, images={**plain.images, "rooted": _ROOTED})
        made = Engine(await spaces.opened(settings))
        try:
            yield made
        finally:
            await made.close()
            cluster.kubectl("delete", "namespace", apart, "--wait=false")
            cluster.kubectl("delete", "pv", apart, "--wait=false")


def store(engine: Engine) -> Path:
    found: Path = engine.backend._settings.store
    return found


async def told(engine: Engine, tenant: str, person: str = "hanako") -> list[str]:
    """Let somebody say who they are and write a file; return what they said."""
    output = store(engine) / _OUTPUT.text
    output.mkdir(parents=True)
    kubernetes.give(output)
    mounts = (Mount(source=_OUTPUT, target="/kqi/output", access=Access.READ_WRITE),)
    name = await engine.run(_TELL, tenant=tenant, person=person, mounts=mounts)
    seen = await engine.ended(name)
    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0), seen
    return (await engine.output(name)).splitlines()


async def test_the_account_of_the_platform(engine: Engine) -> None:
    uid, gid, *_ = await told(engine, "plain")
    assert (uid, gid) == ("1000", "100")
    assert (store(engine) / _OUTPUT.text / "file").stat().st_uid == 1000


async def test_a_person_by_their_own_number_in_the_group_of_all(engine: Engine) -> None:
    uid, gid, groups, umask, *_ = await told(engine, "people")
    assert (uid, gid) == ("2001", "2002") and "100" in groups.split()
    file = (store(engine) / _OUTPUT.text / "file").stat()
    # The platform, and whoever the others of the group are, can read it and take it away again.
    assert (file.st_uid, file.st_gid) == (2001, 100) and file.st_mode & 0o060 == 0o060, (oct(file.st_mode), umask)


async def test_somebody_without_a_number_is_not_let_in_as_somebody_else(engine: Engine) -> None:
    with pytest.raises(CannotStart, match="taro"):
        await engine.backend.start(engine.workload(_TELL, tenant="people", person="taro"))


async def test_whom_the_image_names(engine: Engine) -> None:
    uid, _, groups, *_ = await told(engine, "own")
    assert uid == "65534" and "100" in groups.split()


async def test_an_image_that_would_be_root_is_refused_with_the_nodes_own_words(
    engine: Engine, cluster: Cluster, tmp_path: Path
) -> None:
    rooted = replace(busybox(), reference=_ROOTED, user="0:0")
    cluster.load(images.write(rooted, tmp_path / "rooted.tar"))
    name = await engine.run("id", tenant="own", image="rooted")
    seen = await engine.ended(name)
    assert (seen.phase, seen.reason) == (Phase.EXITED, Reason.CANNOT_START), seen
    assert "root" in seen.message


async def test_root_of_a_user_namespace_is_nobody_on_the_node(engine: Engine, cluster: Cluster) -> None:
    said = await told(engine, "rooted")
    assert said[0] == "0"
    inside, outside, length = (int(number) for number in said[-1].split())
    assert inside == 0 and outside >= 65536 and length >= 65536, said
    # On the volume they are root, whom a mount with mapped ids makes of nobody: only there, and only in their own pod.
    file = (store(engine) / _OUTPUT.text / "file").stat()
    assert file.st_uid == 0 and file.st_gid == 100, file
    # The other namespace is the one for those: in that of everybody else no such pod may be.
    pods = cluster.kubectl("-n", engine.backend._settings.namespace, "get", "pods", "-o", "name")
    assert pods.split() == []


async def test_all_of_them_are_stopped_observed_and_forgotten_alike(engine: Engine) -> None:
    names = [await engine.run("echo up; sleep 600", tenant=tenant) for tenant in ("plain", "rooted")]
    for name in names:
        await engine.said(name, "up")
        await engine.backend.start(engine.workload("echo again", name=name, tenant="plain"))  # wherever it is by now
        await engine.backend.stop(name, grace_s=0)
        assert (await engine.ended(name)).reason is Reason.STOPPED
        assert "again" not in await engine.output(name)
        await engine.backend.forget(name)
        assert (await engine.status(name)).phase is Phase.ABSENT
