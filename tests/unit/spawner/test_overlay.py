"""A configured pod and a workload become one: who wins where, and what is refused."""

import copy
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient
from kubespawner.objects import make_pod

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import manifest
from kqi_spawner.kubernetes.overlay import Rules, laid_over
from tests.unit.spawner.golden.compare import same_as
from tests.unit.spawner.samples import NOTEBOOK, PLAIN, TRAINING

_COUNTED = Rules(hidden={"JUPYTERHUB_API_TOKEN"}, counted={"nvidia.com/gpu", "nvidia.com/mig-1g.10gb"})
TEMPLATE = manifest.job(NOTEBOOK, "registry.example/python:1", PLAIN)["spec"]["template"]
CONFIGURED: dict[str, Any] = {
    "metadata": {
        "name": "jupyter-alice",
        "labels": {"component": "singleuser-server", "app.kubernetes.io/managed-by": "kubespawner"},
        "annotations": {"hub.jupyter.org/username": "alice"},
    },
    "spec": {
        "restartPolicy": "OnFailure",
        "serviceAccountName": "people",
        "schedulerName": "packer",
        "priorityClassName": "people",
        "terminationGracePeriodSeconds": 60,
        "nodeSelector": {"pool": "people"},
        "tolerations": [{"key": "people", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"fsGroup": 7, "runAsUser": 0, "supplementalGroups": [3000]},
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "nfs", "nfs": {"server": "nfs", "path": "/"}}],
        "initContainers": [{"name": "first", "image": "tool:1", "securityContext": {"runAsUser": 7}}],
        "containers": [
            {
                "name": "notebook",
                "image": "jupyter:1",
                "args": ["jupyterhub-singleuser"],
                "imagePullPolicy": "Always",
                "lifecycle": {"postStart": {"exec": {"command": ["hello"]}}},
                "env": [
                    {"name": "HOME", "value": "/home/jovyan"},
                    {"name": "JUPYTERHUB_API_TOKEN", "value": "0123"},
                    {"name": "PROXY", "value": "http://proxy"},
                ],
                "resources": {
                    "limits": {"memory": 1, "nvidia.com/gpu": "8", "rdma/hca": "1"},
                    "requests": {"cpu": 0.1, "rdma/hca": "1"},
                },
                "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
                "volumeMounts": [
                    {"name": "nfs", "mountPath": "/data"},
                    {"name": "scratch", "mountPath": "/home/alice"},
                    {"name": "scratch", "mountPath": "/kqi/output/more"},
                ],
            },
            {"name": "helper", "image": "helper:1"},
        ],
    },
}


def changed(**spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(CONFIGURED)
    made["spec"].update(spec)
    return made


def main_of(pod: dict[str, Any]) -> dict[str, Any]:
    return dict(pod["spec"]["containers"][0])


def test_everything_an_administrator_can_say() -> None:
    before = copy.deepcopy((TEMPLATE, CONFIGURED))
    same_as("overlay", laid_over(TEMPLATE, CONFIGURED, _COUNTED))
    assert before == (TEMPLATE, CONFIGURED)


def test_nothing_configured_changes_nothing() -> None:
    assert laid_over(TEMPLATE, {}, Rules()) == TEMPLATE


def test_cards_are_admissions_alone_other_devices_are_kept() -> None:
    limits = main_of(laid_over(TEMPLATE, CONFIGURED, _COUNTED))["resources"]["limits"]
    assert limits == {"cpu": "1000m", "memory": "2048Mi", "rdma/hca": "1"}
    cards = manifest.job(TRAINING, "i", PLAIN)["spec"]["template"]
    assert main_of(laid_over(cards, CONFIGURED, _COUNTED))["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_security_is_weakened_only_where_that_is_said() -> None:
    strict = main_of(laid_over(TEMPLATE, CONFIGURED, _COUNTED))["securityContext"]
    assert strict == {**manifest.RESTRICTED, "readOnlyRootFilesystem": True}
    weak = laid_over(TEMPLATE, CONFIGURED, Rules(weaker_security=True))
    assert main_of(weak)["securityContext"]["privileged"] is True
    assert weak["spec"]["securityContext"]["runAsUser"] == 0
    with pytest.raises(CannotStart, match="hostNetwork"):
        laid_over(TEMPLATE, changed(hostNetwork=True), Rules())
    assert laid_over(TEMPLATE, changed(hostNetwork=True), Rules(weaker_security=True))["spec"]["hostNetwork"] is True


def test_a_server_is_given_no_token_of_the_cluster_and_no_root_of_the_node() -> None:
    named = changed(serviceAccountName="people", automountServiceAccountToken=True)
    assert laid_over(TEMPLATE, named, Rules())["spec"]["automountServiceAccountToken"] is False
    assert laid_over(TEMPLATE, named, Rules(weaker_security=True))["spec"]["automountServiceAccountToken"] is True
    root = copy.deepcopy(TEMPLATE)
    root["spec"]["hostUsers"] = False
    with pytest.raises(CannotStart, match="hostUsers"):
        laid_over(root, changed(hostUsers=True), Rules())


def test_a_shared_memory_of_the_administrators_own_takes_the_place_of_ours() -> None:
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    notebook = {**CONFIGURED["spec"]["containers"][0], "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm/"}]}
    made = laid_over(TEMPLATE, changed(volumes=[shm], containers=[notebook]), Rules())
    assert [mount["name"] for mount in main_of(made)["volumeMounts"] if "shm" in mount["mountPath"]] == ["shm"]
    assert manifest.MEMORY not in {volume["name"] for volume in made["spec"]["volumes"]}


def test_a_container_that_a_hook_put_before_the_server_is_a_helper() -> None:
    helper, notebook = {"name": "mesh", "image": "mesh:1"}, CONFIGURED["spec"]["containers"][0]
    made = laid_over(TEMPLATE, changed(containers=[helper, notebook]), Rules())
    assert [one["name"] for one in made["spec"]["containers"]] == [manifest.MAIN]
    assert made["spec"]["initContainers"][-1]["restartPolicy"] == "Always"
    assert {"name": "PROXY", "value": "http://proxy"} in main_of(made)["env"]


def test_names_of_the_platforms_own_are_refused() -> None:
    with pytest.raises(CannotStart, match="kqi-store"):
        laid_over(TEMPLATE, changed(volumes=[{"name": "kqi-store", "emptyDir": {}}]), Rules())
    with pytest.raises(CannotStart, match="main"):
        laid_over(TEMPLATE, changed(initContainers=[{"name": "main", "image": "x"}]), Rules())


async def test_what_kubespawner_makes_of_a_z2jh_configuration_is_taken() -> None:
    made = laid_over(TEMPLATE, await _by_kubespawner(), _COUNTED)
    same_as("overlay-kubespawner", made)


async def _by_kubespawner() -> dict[str, Any]:
    async with ApiClient() as client:
        pod = make_pod(
            name="jupyter-alice",
            image="jupyter:1",
            cmd=["jupyterhub-singleuser"],
            port=8888,
            image_pull_policy=None,
            node_selector={"pool": "people"},
            uid=1000,
            fs_gid=100,
            allow_privilege_escalation=False,
            env={"PROXY": "http://proxy", "KEY": {"valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}},
            labels={"component": "singleuser-server"},
            volumes=[{"name": "volume-alice", "persistentVolumeClaim": {"claimName": "claim-alice"}}],
            volume_mounts=[{"name": "volume-alice", "mountPath": "/home/jovyan"}],
            mem_limit=2**30,
            cpu_guarantee=0.5,
            tolerations=[{"key": "hub.jupyter.org/dedicated", "operator": "Equal", "value": "user"}],
            node_affinity_preferred=[{"weight": 100, "preference": {"matchExpressions": []}}],
            lifecycle_hooks={"preStop": {"exec": {"command": ["bye"]}}},
            extra_pod_config={"dnsPolicy": "Default"},
            extra_container_config={"envFrom": [{"configMapRef": {"name": "site"}}]},
        )
        return dict(client.sanitize_for_serialization(pod))
