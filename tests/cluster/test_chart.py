"""The chart as an administrator meets it: what it makes, what it refuses, and what the apiserver says of it."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kqi_hub import settings
from kqi_hub.engine import kubernetes_settings
from kqi_spawner.kubernetes.settings import Toleration
from tests.cluster.harness import build
from tests.cluster.harness.cluster import Cluster
from tests.cluster.helm import CHART, helm, rendered

_WITHOUT_NAMESPACE = {"PersistentVolume", "ClusterRole", "ClusterRoleBinding"}
_BASE: dict[str, Any] = {
    "publicUrl": "https://kqi.example.org",
    "storage": {"kind": "hostPath", "hostPath": "/srv/store"},
    "database": {"bundled": {"hostPath": "/srv/database"}},
}
_EXTERNAL = {"kind": "external", "external": {"host": "db.example.org", "existingSecret": "db", "tls": "verify-full"}}
_VARIANTS: dict[str, dict[str, Any]] = {
    "one machine": _BASE,
    "nfs, cards, own database": {
        **_BASE,
        "storage": {"kind": "nfs", "nfs": {"server": "nas.example.org", "path": "/export"}},
        "database": _EXTERNAL,
        "gpus": {
            "a100": {
                "memoryMib": 81920,
                "nodeSelector": {"gpu": "a100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            },
            "slice": {"resource": "nvidia.com/mig-1g.10gb"},
        },
        "imagePullSecrets": [{"name": "registry"}],
        "singleuser": {
            "nodeSelector": {"pool": "work"},
            "extraTolerations": [{"key": "work", "value": "kqi", "effect": "NoSchedule"}, {"key": "empty"}],
            "priorityClassName": "kqi-work",
            "extraLabels": {"example.org/cost-centre": "7"},
            "extraAnnotations": {"sidecar.istio.io/inject": "false"},
            "cpu": {"requestShare": 0.25},
            "memory": {"requestShare": 0.5},
            "shmMib": 1024,
        },
        "api": {"replicas": 3, "nodeSelector": {"role": "services"}},
    },
    "claims of somebody's own, one namespace": {
        **_BASE,
        "storage": {"kind": "claims", "claims": {"platform": "store", "work": "store"}},
        "work": {"namespace": "kqi", "create": False},
    },
    "a storage class, an ingress": {
        "storage": {"kind": "class", "class": "shared"},
        "work": {"namespace": "kqi"},
        "ingress": {"enabled": True, "hosts": ["kqi.example.org"], "tls": [{"secretName": "tls"}]},
    },
    "a gateway": {
        **_BASE,
        "httpRoute": {
            "enabled": True,
            "hostnames": ["kqi.example.org"],
            "gateway": {"name": "edge", "namespace": "infra", "sectionName": "https", "httpSectionName": "http"},
        },
    },
    "the proxy's own certificate": {
        **_BASE,
        "proxy": {"https": {"enabled": True, "secret": {"name": "tls"}}, "service": {"type": "LoadBalancer"}},
        "hub": {"config": {"Spawner": {"cmd": ["start"]}}, "extraConfig": {"own": "c.JupyterHub.log_level = 10"}},
        "settings": {"limits": {"running_per_person": 4}},
    },
}


@pytest.fixture(params=_VARIANTS, scope="module")
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(_VARIANTS[request.param])


def _templates(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for found in objects:
        spec = found["spec"] if found["kind"] == "Pod" else found.get("spec", {}).get("template", {}).get("spec")
        if spec:
            yield f"{found['kind']}/{found['metadata']['name']}", spec


def test_it_has_no_fault_that_helm_finds() -> None:
    said = helm("lint", CHART, "--strict", "--kube-version", "1.36.0", values=_BASE)
    assert "0 chart(s) failed" in said


def test_every_pod_is_restricted_and_has_limits(objects: list[dict[str, Any]]) -> None:
    found = dict(_templates(objects))
    assert len(found) >= 4
    for name, spec in found.items():
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"], name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            safe = container["securityContext"]
            assert safe["readOnlyRootFilesystem"] and not safe["allowPrivilegeEscalation"], name
            assert safe["capabilities"] == {"drop": ["ALL"]}, name
            assert "test" in name or {"requests", "limits"} <= container["resources"].keys(), name
        with_token = {"Deployment/kqi-hub", "Deployment/kqi-api"}
        assert spec["automountServiceAccountToken"] is (name in with_token), name


def test_rights_are_named_one_by_one(objects: list[dict[str, Any]]) -> None:
    rules = [
        (found["kind"], rule)
        for found in objects
        if found["kind"] in {"Role", "ClusterRole"}
        for rule in found["rules"]
    ]
    assert {resource for kind, rule in rules if kind == "ClusterRole" for resource in rule["resources"]} == {"nodes"}
    for _, rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
    assert not [
        found for found in objects if found["kind"] == "RoleBinding" and found["metadata"]["namespace"] == "default"
    ]


def test_the_platform_takes_its_settings(objects: list[dict[str, Any]], tmp_path: Any) -> None:
    config = next(found for found in objects if found["metadata"]["name"] == "kqi-config")
    place = tmp_path / "kqi-hub.toml"
    place.write_text(config["data"]["kqi-hub.toml"])
    read = settings.load(place, environ={})
    assert read.engine.kind == "kubernetes" and read.url == "https://kqi.example.org"
    assert read.on_cluster.images["default"].startswith("kqi/jupyterlab:")


def test_what_is_said_of_peoples_pods_reaches_the_engine(tmp_path: Any) -> None:
    place = tmp_path / "kqi-hub.toml"
    for variant, check in (("nfs, cards, own database", True), ("one machine", False)):
        found = rendered(_VARIANTS[variant])
        config = next(one for one in found if one["metadata"]["name"] == "kqi-config")
        place.write_text(config["data"]["kqi-hub.toml"])
        told = kubernetes_settings(settings.load(place, environ={}))
        if check:
            assert told.cards["a100"].tolerations == (Toleration(key="nvidia.com/gpu"),)
            work = Toleration(key="work", value="kqi", effect="NoSchedule")
            assert told.tolerations == (work, Toleration(key="empty", value=""))
            assert (told.node_selector, told.priority_class) == ({"pool": "work"}, "kqi-work")
            assert told.pod_labels == {"example.org/cost-centre": "7"}
            assert told.pod_annotations == {"sidecar.istio.io/inject": "false"}
            assert (told.cpu_request_share, told.memory_request_share, told.shm_mib) == (0.25, 0.5, 1024)
            assert told.image_pull_secrets == ("registry",)
        else:
            assert (told.tolerations, told.image_pull_secrets, told.shm_mib) == ((), (), None)
            assert told.cpu_request_share == told.memory_request_share == 1


def test_what_must_not_be_lost_is_kept_by_an_uninstallation(objects: list[dict[str, Any]]) -> None:
    lasting = {"PersistentVolume", "PersistentVolumeClaim", "Namespace"}
    for found in objects:
        name = found["metadata"]["name"]
        if found["kind"] in lasting or (found["kind"] == "Secret" and re.search("-(secrets|database)$", name)):
            assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**_BASE, "nonsense": 1}, "nonsense"),
        ({"storage": _BASE["storage"]}, "publicUrl"),
        ({**_BASE, "storage": {"kind": "hostPath"}}, "storage.hostPath"),
        ({**_BASE, "storage": {"kind": "class", "class": "shared"}}, "cannot be seen from another namespace"),
        ({**_BASE, "database": {"kind": "external"}}, "database.external"),
        ({**_BASE, "gpus": {"a100": {"resources": "nvidia.com/gpu"}}}, "resources"),
        ({**_BASE, "singleuser": {"extraTolerations": [{"operator": "Exists"}]}}, "key"),
        ({**_BASE, "singleuser": {"cpu": {"requestShare": 0}}}, "requestShare"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_value(values: dict[str, Any], said: str) -> None:
    told = helm("template", "kqi", CHART, "--kube-version", "1.36.0", values=values, check=False)
    assert "Error" in told and said in told


@pytest.fixture(scope="module")
def spaces(cluster: Cluster) -> Iterator[Cluster]:
    """Namespaces, and the account of the test pod: a dry run looks them up."""
    for space in ("kqi", "kqi-work"):
        cluster.kubectl("create", "namespace", space)
    cluster.kubectl("-n", "kqi", "create", "serviceaccount", "kqi-plain")
    (routes,) = build.binaries(["gateway"])
    cluster.kubectl("apply", "--server-side", "-f", routes / "gateway.networking.k8s.io_httproutes.yaml")
    cluster.kubectl("wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io", "--timeout=60s")
    yield cluster
    cluster.kubectl("delete", "namespace", "kqi", "kqi-work", "--wait=false")


def test_the_apiserver_takes_every_object(spaces: Cluster, objects: list[dict[str, Any]]) -> None:
    """A dry run: schemas, and what the apiserver itself checks."""
    items = [copy.deepcopy(found) for found in objects if found["kind"] != "Namespace"]
    for found in items:
        if found["kind"] not in _WITHOUT_NAMESPACE:
            found["metadata"].setdefault("namespace", "kqi")
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    spaces.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text=text)
