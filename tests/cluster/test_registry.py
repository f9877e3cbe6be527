"""Images of a closed registry: pulled with what the person has, and with nothing of anybody else's."""

import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.status import Phase, Reason
from kqi_spawner.workload import Registry, Secret, Workload
from tests.cluster.harness import images
from tests.cluster.harness.cluster import Cluster, busybox
from tests.cluster.harness.control_plane import wait
from tests.cluster.harness.network import OUTSIDE
from tests.contract import kubernetes
from tests.contract.engines import Engine
from tests.servers import registry

_PLACE = f"{OUTSIDE}:5000"
_IMAGE = f"{_PLACE}/team/tools:1"
_PASSWORD = secrets.token_hex(16)


@pytest.fixture(scope="module")
def closed(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster beside which a registry is open to alice alone."""
    room = cluster.control.room
    # Not the image of the other tests: a kubelet asks for credentials by what an image holds, whatever it is called.
    own = replace(busybox(), reference=_IMAGE, files={**busybox().files, "etc/closed": Path(__file__)})
    archive = images.write(own, cluster.folder / "tools.tar")
    words = (sys.executable, Path(registry.__file__), OUTSIDE, 5000, archive, "alice", _PASSWORD)
    room.spawn("registry", *words)
    looked = (sys.executable, "-c", f"import socket; socket.create_connection(('{OUTSIDE}', 5000)); print('up')")
    wait("registry", lambda: "up" in room.run(*looked, check=False), room.log("registry"))
    for node in cluster.workers:
        node.trust(_PLACE)
    yield cluster
    room.end("registry")


@pytest.fixture
async def engine(closed: Cluster) -> AsyncIterator[Engine]:
    with kubernetes.space(closed) as settings:
        asked = replace(settings, allowed_images=(f"{_PLACE}/*",))
        made = Engine(await KubernetesBackend.opened(asked), long_grace_s=10)
        yield made
        await made.close()


def of(engine: Engine, *passwords: str) -> Workload:
    """Return a run of the closed image by somebody who has these passwords for its registry."""
    shown = [Registry(server=_PLACE, username="alice", password=Secret(password)) for password in passwords]
    return engine.workload("echo pulled", image=_IMAGE, registries=tuple(shown))


async def test_an_image_is_pulled_with_what_its_person_has_and_that_is_seen_nowhere(
    engine: Engine, closed: Cluster
) -> None:
    mine = of(engine, _PASSWORD)
    await engine.backend.start(mine)
    seen = await engine.ended(mine.name)
    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0), seen
    assert await engine.output(mine.name) == "pulled\n"
    for kind in ("pods", "jobs", "events"):
        assert _PASSWORD not in closed.kubectl("get", kind, "--all-namespaces", "-o", "json")
    await engine.backend.forget(mine.name)
    assert mine.name not in closed.kubectl("get", "secrets", "--all-namespaces", "-o", "name")


@pytest.mark.parametrize("passwords", [(), ("wrong",)], ids=["nothing", "something wrong"])
async def test_who_has_nothing_for_it_gets_no_image_that_others_pulled(
    engine: Engine, passwords: tuple[str, ...]
) -> None:
    first = of(engine, _PASSWORD)
    await engine.backend.start(first)
    await engine.ended(first.name)  # one node has it now
    other = of(engine, *passwords)
    await engine.backend.start(other)
    seen = await engine.ended(other.name)
    assert (seen.phase, seen.reason, seen.exit_code) == (Phase.EXITED, Reason.CANNOT_START, None), seen
    assert _IMAGE in seen.message
