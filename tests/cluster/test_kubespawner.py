"""The Spawner without an api: KubeSpawner without its known faults, on a real cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from jupyterhub import orm
from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.config import kube_config
from kubespawner import KubeSpawner, clients
from traitlets.config import Config

from kqi_spawner.jupyterhub.kube_spawner import KqiKubeSpawner
from tests.cluster.harness.cluster import BUSYBOX_IMAGE, Cluster
from tests.cluster.test_harness import until

_SERVE = ["busybox", "httpd", "-f", "-p", "8888", "-h", "/tmp"]
_FAILS = {"name": "first", "image": BUSYBOX_IMAGE, "command": ["false"]}
_WAITS = {**_FAILS, "command": ["sleep", "4"]}


class Site:
    """A namespace of its own, and what a z2jh site would configure for it."""

    def __init__(self, cluster: Cluster, space: str) -> None:
        self.cluster, self.space = cluster, space

    def spawner(self, person: str = "alice", orm_spawner: Any = None, **traits: Any) -> KqiKubeSpawner:
        config = Config()
        config.KubeSpawner.update({"namespace": self.space, "image": BUSYBOX_IMAGE, "cmd": _SERVE, "start_timeout": 50})
        config.KubeSpawner.update({"delete_grace_period": 1, "start_patience": 3.0, **traits})
        config.KubeSpawner.environment = {"JUPYTERHUB_API_TOKEN": "t"}
        user = SimpleNamespace(name=person, id=1, url=f"/user/{person}", groups=[])
        hub = SimpleNamespace(public_host="", url="http://hub", base_url="/hub/", api_url="http://hub/api")
        given = {"api_token": "t", "oauth_client_id": "c", "_mock": True, "orm_spawner": orm_spawner}
        made = KqiKubeSpawner(user=user, hub=hub, config=config, **given)
        made.user_options = {}
        made.get_args = list
        return made

    def pods(self) -> list[str]:
        return self.cluster.kubectl("-n", self.space, "get", "pods", "-o", "name").split()

    def homes(self) -> set[str]:
        """Return the claims that stay: who watches them keeps a deleted one in sight for a moment."""
        found = json.loads(self.cluster.kubectl("-n", self.space, "get", "pvc", "-o", "json"))["items"]
        return {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]}

    async def is_gone(self) -> None:
        await asyncio.to_thread(until, lambda: not self.pods())


def event(number: int, space: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"old-{number}", "namespace": space},
        "involvedObject": {"kind": "Pod", "name": "jupyter-alice", "namespace": space},
        "type": "Normal",
        "message": "something of long ago",
        "lastTimestamp": "2020-01-01T00:00:00Z",
    }


async def deafened(reflector: Any) -> asyncio.Event:
    """Let a watch live on that hears nothing any more; set what is returned to end it."""
    reflector.watch_task.cancel()
    await asyncio.wait([reflector.watch_task])
    over = asyncio.Event()
    reflector.watch_task = asyncio.create_task(over.wait())
    return over


@pytest.fixture
async def site(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    # Where programs of the machine find the cluster; the library reads that when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
    clients.load_config.cache_clear()
    space = f"site-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", space)
    words = ("-n", space, "get", "serviceaccounts", "-o", "name")
    await asyncio.to_thread(until, lambda: "default" in cluster.kubectl(*words))
    yield Site(cluster, space)
    await KubeSpawner._stop_all_reflectors()
    cluster.kubectl("delete", "namespace", space, "--wait=false")


async def test_a_server_starts_is_seen_and_stops(site: Site) -> None:
    spawner = site.spawner()
    assert (await spawner.start()).endswith(":8888")
    assert await spawner.poll() is None
    await spawner.stop()
    assert await spawner.poll() == 1
    assert not site.pods()


@pytest.mark.parametrize(
    ("traits", "reason"),
    [
        ({"image": "localhost/nothing:1"}, "localhost/nothing:1"),
        ({"image": "Not A Name"}, "InvalidImageName"),
        ({"init_containers": [_FAILS]}, "CrashLoopBackOff|first ended with exit code 1"),
        ({"cmd": ["/no/such/program"]}, "no such file"),
        ({"environment": {"A": {"valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}}}, "CreateContainerConfig"),
        ({"init_containers": [_FAILS], "extra_pod_config": {"restartPolicy": "Never"}}, "exit code 1"),
    ],
)
async def test_a_start_that_cannot_come_to_be_ends_at_once_with_the_reason(
    site: Site, traits: dict[str, Any], reason: str
) -> None:
    spawner = site.spawner(**{"start_timeout": 600, **traits})
    if "environment" in traits:
        spawner.environment = traits["environment"]
    with pytest.raises(SpawnException, match=reason):
        await spawner.start()
    await site.is_gone()
    assert await spawner.poll() == 1


async def test_a_pod_that_was_evicted_gives_its_code_and_is_removed(site: Site) -> None:
    spawner = site.spawner(extra_pod_config={"nodeName": "nowhere"}, cmd=["sleep", "600"])
    spawner.start_patience = 60
    starting = spawner.start()
    await asyncio.to_thread(until, site.pods)
    assert await spawner.poll() is None
    status = json.dumps({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}})
    words = ("-n", site.space, "patch", *site.pods(), "--subresource=status", "--type=merge", "-p", status)
    site.cluster.kubectl(*words)
    with pytest.raises(SpawnException, match="Evicted low on memory"):
        await starting
    await site.is_gone()


async def test_a_dead_watch_is_replaced_and_a_frozen_one_is_not_believed(site: Site) -> None:
    spawner = site.spawner()
    await spawner.start()
    reflector = spawner.pod_reflector
    reflector.resources = {}
    # Not in the cache is not gone: the apiserver itself is asked.
    assert await spawner.poll() is None
    reflector.watch_task.cancel()
    await asyncio.wait([reflector.watch_task])
    assert await spawner.poll() is None
    assert spawner.pod_reflector is not reflector
    await spawner.stop()


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_watch_that_fails_during_a_start_leaves_no_server_that_nobody_knows(site: Site, frozen: bool) -> None:
    traits = {"start_timeout": 10} if frozen else {"init_containers": [_WAITS]}
    spawner = site.spawner(**traits)
    await spawner._start_watching_pods()
    reflector = spawner.pod_reflector
    if frozen:
        deaf = await deafened(reflector)
        with pytest.raises(SpawnException, match="has not seen it"):
            await spawner.start()
        deaf.set()
    else:
        starting = spawner.start()
        await asyncio.to_thread(until, site.pods)
        reflector.watch_task.cancel()
        assert (await starting).endswith(":8888")
        await spawner.stop()
    await site.is_gone()


async def test_a_start_that_takes_too_long_says_why_before_the_hub_gives_up(site: Site) -> None:
    spawner = site.spawner(start_timeout=20, node_selector={"no": "such"})
    with pytest.raises(SpawnException, match="0/2 nodes are available"):
        async with asyncio.timeout(spawner.start_timeout):  # as the hub does it
            await spawner.start()
    await site.is_gone()


async def test_a_namespace_full_of_events_is_no_load_and_a_start_tells_its_own(site: Site) -> None:
    old = [event(number, site.space) for number in range(50)]
    site.cluster.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": old}))
    spawner = site.spawner()
    starting = spawner.start()
    told = [one["message"] async for one in spawner.progress()]
    await starting
    assert any("Successfully assigned" in text for text in told) and not any("of long ago" in text for text in told)
    kept = spawner.event_reflector.resources.values()
    assert kept and not any("of long ago" in one["message"] or "managedFields" in one["metadata"] for one in kept)
    await spawner.stop()


async def test_a_new_address_is_written_by_the_hubs_own_means(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    session = orm.new_session_factory("sqlite://")()
    kept = orm.Spawner(name="", user=orm.User(name="alice"), server=orm.Server(ip="1.2.3.4", port=8888))
    session.add(kept)
    session.commit()
    spawner = site.spawner(orm_spawner=kept)
    url = await spawner.start()
    assert await spawner.poll() is None
    session.rollback()
    assert f"http://{kept.server.ip}:{kept.server.port}" == url
    assert "is deprecated" not in caplog.text
    await spawner.stop()


@pytest.mark.parametrize("for_all", [False, True])
async def test_an_outage_of_the_apiserver_is_no_end_of_a_server(site: Site, for_all: bool) -> None:
    spawner = site.spawner(enable_user_namespaces=for_all, user_namespace_template=site.space)
    await spawner.start()
    await asyncio.to_thread(site.cluster.control.stop_apiserver)
    try:
        await KubeSpawner._stop_all_reflectors()
        assert await spawner.poll() is None
    finally:
        await asyncio.to_thread(site.cluster.control.start_apiserver)
    assert await spawner.poll() is None
    await spawner.stop()


@pytest.mark.parametrize("by_name", [False, True])
async def test_the_home_of_who_is_removed_is_kept_unless_somebody_said_otherwise(site: Site, by_name: bool) -> None:
    spawner = site.spawner(**({"delete_pvc": True} if by_name else {}))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": spawner.pvc_name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    site.cluster.kubectl("-n", site.space, "apply", "-f", "-", text=json.dumps(claim))
    await spawner.delete_forever()
    assert (spawner.pvc_name in site.homes()) is not by_name


@pytest.mark.parametrize("owner", ["a.b", "a-2eb"])
async def test_an_old_name_of_a_home_is_no_reason_to_take_another_persons(site: Site, owner: str) -> None:
    spawner = site.spawner("a.b", delete_pvc=True)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim-a-2eb", "annotations": {"hub.jupyter.org/username": owner}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    site.cluster.kubectl("-n", site.space, "apply", "-f", "-", text=json.dumps(claim))
    await spawner.delete_forever()
    assert ("claim-a-2eb" in site.homes()) is (owner != "a.b")


async def test_a_profile_that_there_is_not_is_refused_before_anything_starts(site: Site) -> None:
    profiles = [{"display_name": "Small", "profile_options": {"image": {"choices": {"plain": {"display_name": "P"}}}}}]
    spawner = site.spawner(profile_list=profiles)
    for options in ({"profile": "large"}, {"profile": "small", "image": "other"}, {"profile": ["small"]}):
        spawner.user_options = options
        with pytest.raises(SpawnException) as refused:
            await spawner.start()
        assert refused.value.status_code == 400
    assert not site.pods()
