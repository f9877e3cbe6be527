"""Servers of people on a real cluster, through a real JupyterHub."""

import asyncio
import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kqi_spawner.kubernetes import entry
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.names import WorkloadName
from kqi_spawner.workload import Resources
from tests.cluster.harness.cluster import Cluster
from tests.cluster.hub import SERVE, Hub, opened
from tests.cluster.test_harness import until
from tests.contract import kubernetes


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    state: Path = tmp_path_factory.mktemp("hub")
    with kubernetes.space(cluster) as settings, opened(cluster, settings, state) as made:
        yield made


def gone(hub: Hub, name: WorkloadName) -> None:
    """What the platform collects leaves nothing behind."""
    hub.collected(name)
    until(lambda: not hub.left(name))


def stopped(hub: Hub, person: str, server: str = "") -> None:
    hub.stop(person, server)
    until(lambda: hub.server(person, server) is None)


def test_a_server_starts_answers_and_stops(hub: Hub) -> None:
    name = hub.run("alice")
    last = hub.opened("alice", options={"run": 7})
    assert last["ready"], last
    assert hub.asked[-1] == {"person": "alice", "server": "", "run": 7}
    (pod,) = hub.get("pods", name)
    labels, main = pod["metadata"]["labels"], pod["spec"]["containers"][0]
    assert labels["component"] == "singleuser-server" and labels["team"] == "vision"
    variables = {one["name"]: one.get("value") for one in main["env"]}
    assert variables["SITE"] == "here" and variables["HOME"] == "/tmp" and variables["JUPYTERHUB_USER"] == "alice"
    assert {mount["mountPath"] for mount in main["volumeMounts"]} >= {"/more", "/kqi/tools", "/dev/shm"}
    assert "JUPYTERHUB_API_TOKEN" not in json.dumps(pod) and "hidden-away" not in json.dumps(pod)
    assert api_token(hub, name) not in json.dumps(pod)
    assert me(hub, name)["name"] == "alice"
    # The engine watches; KubeSpawner's own watches would be a second account of the same pods.
    assert "watching for" not in hub.log.read_text()
    stopped(hub, "alice")
    gone(hub, name)


def test_a_volume_of_ones_own_is_made_and_outlives_server_and_person(hub: Hub, cluster: Cluster) -> None:
    space, place = hub.settings.namespace, hub.settings.store / "own"
    place.mkdir()
    place.chmod(0o777)
    cluster.kubectl("apply", "-f", "-", text=kubernetes.claim(space, place, "claim-homer").partition("---")[0])
    try:
        name = hub.run("homer", text=f"echo here >/own/word; {SERVE}")
        assert hub.opened("homer")["ready"]
        until(lambda: (place / "word").exists())
        stopped(hub, "homer")
        gone(hub, name)
        assert hub.client.delete("/users/homer").status_code == 204
        claims = json.loads(cluster.kubectl("-n", space, "get", "pvc", "-o", "json"))["items"]
        assert "claim-homer" in {claim["metadata"]["name"] for claim in claims}
    finally:
        cluster.kubectl("-n", space, "delete", "pvc", "claim-homer", "--wait=false", check=False)
        cluster.kubectl("delete", "pv", f"{space}-claim-homer", "--wait=false")


def test_a_volume_that_cannot_be_made_ends_the_start(hub: Hub) -> None:
    hub.run("homeless")
    last = hub.opened("homeless")
    assert last["failed"] and "claim-homeless" in last["message"], last


def test_a_restarted_hub_goes_on_with_the_server_that_runs(hub: Hub) -> None:
    name = hub.run("bea", "lab")
    assert hub.opened("bea", "lab")["ready"]
    before = [pod["metadata"]["uid"] for pod in hub.get("pods", name)]
    hub.end(signal.SIGKILL)
    hub.start()
    found = until(lambda: hub.server("bea", "lab"))
    assert found["ready"], found
    assert [pod["metadata"]["uid"] for pod in hub.get("pods", name)] == before
    stopped(hub, "bea", "lab")
    gone(hub, name)


def test_a_hub_that_dies_during_a_start_finds_the_one_server_again(hub: Hub) -> None:
    name = hub.run("cleo", text=f"sleep 8; {SERVE}")
    assert hub.ask("cleo").status_code == 202
    first = until(lambda: [pod["metadata"]["uid"] for pod in hub.get("pods", name)])
    token = api_token(hub, name)
    hub.end(signal.SIGKILL)
    hub.start()
    assert hub.opened("cleo")["ready"]
    assert [pod["metadata"]["uid"] for pod in hub.get("pods", name)] == first
    assert api_token(hub, name) == token
    # The server's own token is one that the new hub knows.
    assert me(hub, name)["name"] == "cleo"
    stopped(hub, "cleo")
    gone(hub, name)


def test_a_start_that_a_dying_hub_left_without_its_secret_is_gone_on_with(hub: Hub, cluster: Cluster) -> None:
    name = hub.run("waiter-half")  # for which there is no room yet
    assert hub.ask("waiter-half").status_code == 202
    first = until(lambda: [pod["metadata"]["uid"] for pod in hub.get("pods", name)])
    hub.end(signal.SIGKILL)
    cluster.kubectl("-n", hub.settings.namespace, "delete", "secret", name, "--ignore-not-found")
    hub.start()
    assert hub.ask("waiter-half").status_code == 202
    try:
        cluster.kubectl("label", "node", "node1", "kqi-test=room")
        assert list(hub.events("waiter-half"))[-1]["ready"]
    finally:
        cluster.kubectl("label", "node", "node1", "kqi-test-")
    assert [pod["metadata"]["uid"] for pod in hub.get("pods", name)] == first
    assert me(hub, name)["name"] == "waiter-half"
    stopped(hub, "waiter-half")
    gone(hub, name)


@pytest.mark.parametrize("server", ["", "second"])
def test_a_server_that_waits_for_room_can_be_stopped(hub: Hub, server: str) -> None:
    name = hub.run("waiter", server)
    assert hub.ask("waiter", server).status_code == 202
    until(lambda: hub.get("pods", name))
    stopped(hub, "waiter", server)
    gone(hub, name)


def test_a_server_waits_for_room_and_says_why_until_there_is_some(hub: Hub, cluster: Cluster) -> None:
    name = hub.run("waiter2")
    assert hub.ask("waiter2").status_code == 202
    said = []
    try:
        for event in hub.events("waiter2"):
            said.append(event["message"])
            if "No machine has room" in event["message"]:
                assert "0/2 nodes are available" in event["message"]
                cluster.kubectl("label", "node", "node1", "kqi-test=room")
        assert event["ready"] and event["message"] == "The server is ready.", said
        assert any("has begun" in text for text in said), said
    finally:
        cluster.kubectl("label", "node", "node1", "kqi-test-")
    stopped(hub, "waiter2")
    gone(hub, name)


def test_waiting_for_room_is_on_no_clock_of_a_start(hub: Hub, cluster: Cluster) -> None:
    name = hub.run("waiter-long")
    assert hub.ask("waiter-long").status_code == 202
    try:
        asyncio.run(asyncio.sleep(9))  # longer than its start may take
        assert hub.server("waiter-long")
        cluster.kubectl("label", "node", "node1", "kqi-test=room")
        assert list(hub.events("waiter-long"))[-1]["ready"]
    finally:
        cluster.kubectl("label", "node", "node1", "kqi-test-")
    stopped(hub, "waiter-long")
    gone(hub, name)


def test_waiting_for_room_ends_where_an_administrator_wants_that(hub: Hub) -> None:
    name = hub.run("waiter-short")
    last = hub.opened("waiter-short")
    assert last["failed"] and "No machine had room" in last["message"], last
    until(lambda: hub.server("waiter-short") is None)
    gone(hub, name)


_ROOM = {
    "en": "with fewer resources it may start sooner",
    "ja": "要求するリソースを減らすと早く始まることがあります",
    "zh": "减少所需资源可能更早开始",
}


@pytest.mark.parametrize("language", _ROOM)
def test_everybody_reads_a_start_in_their_own_language_whoever_asked_for_it(hub: Hub, language: str) -> None:
    person = f"waiter-{language}"
    name = hub.run(person)
    assert hub.ask(person).status_code == 202
    for event in hub.events(person, language=language):
        if _ROOM[language] in event["message"]:
            break
        assert not event.get("failed"), event
        assert (language == "en") is event["message"].isascii(), event
    stopped(hub, person)
    gone(hub, name)
    # Why a start failed, too.
    other = f"reader-{language}"
    name = hub.run(other, image="localhost/nothing:1")
    assert hub.ask(other).status_code == 202
    last = list(hub.events(other, language=language))[-1]
    begins = {"en": "The server cannot be started", "ja": "サーバーを起動できません", "zh": "无法启动服务器"}
    assert last["failed"] and last["message"].startswith(begins[language]), last
    gone(hub, name)


def test_a_run_that_is_stopped_elsewhere_ends_the_start(hub: Hub) -> None:
    name = hub.run("waiter3")
    assert hub.ask("waiter3").status_code == 202
    until(lambda: hub.get("pods", name))
    asyncio.run(end(hub, name))
    last = list(hub.events("waiter3"))[-1]
    assert last["failed"] and "Stopped" in last["message"], last
    gone(hub, name)


def test_an_image_that_is_not_there_ends_the_start_with_the_reason(hub: Hub) -> None:
    name = hub.run("dora", image="localhost/nothing:1")
    last = hub.opened("dora")
    assert last["failed"], last
    assert "cannot be started" in last["message"] and "localhost/nothing:1" in last["message"]
    gone(hub, name)


def test_a_server_that_dies_says_its_last_words(hub: Hub) -> None:
    name = hub.run("eve", text="echo the disk is full; exit 9")
    last = hub.opened("eve")
    assert last["failed"] and "the disk is full" in last["message"], last
    gone(hub, name)


def test_a_server_that_never_answers_is_ended_and_says_its_last_words(hub: Hub) -> None:
    name = hub.run("finn", text="echo I think; exec sleep 600")
    last = hub.opened("finn")
    assert last["failed"] and "within 6 s" in last["message"] and "I think" in last["message"], last
    until(lambda: hub.server("finn") is None)
    gone(hub, name)


def test_the_hub_notices_the_end_of_a_server_and_its_code(hub: Hub) -> None:
    name = hub.run("gina", text="busybox httpd -p 8888 -h /tmp; sleep 6; exit 23")
    assert hub.opened("gina")["ready"]
    until(lambda: hub.server("gina") is None)
    assert "exit code: 23" in hub.log.read_text()
    gone(hub, name)


def test_a_server_whose_pod_is_removed_by_force_is_over(hub: Hub, cluster: Cluster) -> None:
    name = hub.run("hugo")
    assert hub.opened("hugo")["ready"]
    (pod,) = hub.get("pods", name)
    space = hub.settings.namespace
    cluster.kubectl("-n", space, "delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    until(lambda: hub.server("hugo") is None)
    gone(hub, name)


def test_an_outage_of_the_apiserver_ends_nobodys_server(hub: Hub, cluster: Cluster) -> None:
    name = hub.run("ivy")
    assert hub.opened("ivy")["ready"]
    cluster.control.stop_apiserver()
    try:
        for _ in range(5):
            found = hub.server("ivy")
            assert found and found["ready"]
            asyncio.run(asyncio.sleep(1))
    finally:
        cluster.control.start_apiserver()
    assert hub.server("ivy")
    stopped(hub, "ivy")
    gone(hub, name)


def test_a_used_up_share_is_waited_for(hub: Hub, cluster: Cluster) -> None:
    name, space = hub.run("jack"), hub.settings.namespace
    cluster.kubectl("-n", space, "create", "quota", "nothing", "--hard=pods=0")
    try:
        until(lambda: "hard" in cluster.get("-n", space, "quota", "nothing").get("status", {}))
        assert hub.ask("jack").status_code == 202
        for event in hub.events("jack"):
            if "is used up" in event["message"]:
                break
    finally:
        cluster.kubectl("-n", space, "delete", "quota", "nothing")
    assert list(hub.events("jack"))[-1]["ready"]
    stopped(hub, "jack")
    gone(hub, name)


def test_what_the_cluster_forbids_ends_the_start_with_its_words(hub: Hub, cluster: Cluster) -> None:
    space = hub.settings.namespace
    limit = {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}
    made = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": limit}
    cluster.kubectl("-n", space, "apply", "-f", "-", text=json.dumps(made))
    try:
        name = hub.run("kim", resources=Resources(cpu_milli=50, memory_mib=2048))
        last = hub.opened("kim")
        assert last["failed"] and "maximum memory usage" in last["message"], last
    finally:
        cluster.kubectl("-n", space, "delete", "limitrange", "small")
    gone(hub, name)


@pytest.mark.parametrize(("person", "server"), [("a.b@example.org", ""), ("x" * 60, "a-b"), ("--odd--", "z9")])
def test_names_of_awkward_shapes_are_no_trouble(hub: Hub, person: str, server: str) -> None:
    name = hub.run(person, server)
    assert hub.opened(person, server)["ready"]
    (pod,) = hub.get("pods", name)
    assert pod["metadata"]["annotations"]["hub.jupyter.org/username"] == person
    stopped(hub, person, server)
    gone(hub, name)


@pytest.mark.parametrize("options", [{"run": "x"}, {"run": 0}, {"run": 1, "image": "mine"}, {"run": [{}]}])
def test_options_that_are_none_are_refused_in_words(hub: Hub, options: object) -> None:
    hub.run("lea")
    last = hub.opened("lea", options=options)
    assert last["failed"] and "cannot be used" in last["message"], last
    assert "Traceback" not in hub.log.read_text()[-3000:]


def test_what_another_spawner_saved_is_no_request(hub: Hub) -> None:
    name = hub.run("mia")
    assert hub.opened("mia", options={"profile": "large"})["ready"]
    assert hub.asked[-1]["run"] is None
    stopped(hub, "mia")
    gone(hub, name)


def test_who_is_queued_is_told_the_place(hub: Hub) -> None:
    last = hub.opened("nora")
    assert last["failed"] and "number 3 of the queue" in last["message"], last


def api_token(hub: Hub, name: WorkloadName) -> str:
    (hidden,) = hub.get("secrets", name)
    text = base64.b64decode(hidden["data"][entry.SECRETS_FILE]).decode()
    return entry.secrets_of(text)["JUPYTERHUB_API_TOKEN"].reveal()


def me(hub: Hub, name: WorkloadName) -> dict[str, str]:
    """Ask the hub as the server itself would."""
    headers = {"Authorization": f"token {api_token(hub, name)}"}
    answer = httpx.get(f"{hub.url}/hub/api/user", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def end(hub: Hub, name: WorkloadName) -> None:
    backend = await KubernetesBackend.opened(hub.settings)
    try:
        await backend.stop(name, grace_s=1)
    finally:
        await backend.close()
