"""The chart as an administrator meets it: what it makes, what it refuses, and what the apiserver says of it."""

import base64
import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kqi_hub import settings
from kqi_hub.engine import kubernetes_settings
from kqi_hub.errors import ConfigError
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
_HTTPS = {"https": {"enabled": True, "secret": {"name": "tls"}}}
_GATEWAY = {"name": "edge", "namespace": "infra", "sectionName": "https", "httpSectionName": "http"}
_INGRESS = {"enabled": True, "hosts": ["kqi.example.org"]}
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
            "gateway": _GATEWAY,
        },
    },
    "the proxy's own certificate": {
        **_BASE,
        "proxy": {**_HTTPS, "service": {"type": "LoadBalancer"}, "secretToken": "a" * 64},
        "hub": {"config": {"Spawner": {"cmd": ["start"]}}, "extraConfig": {"own": "c.JupyterHub.log_level = 10"}},
        "settings": {"limits": {"running_per_person": 4}},
        "api": {"replicas": 1},
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


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, name))


def _files(objects: list[dict[str, Any]], secret: str) -> dict[str, str]:
    """Return what a Secret holds, by file."""
    data = _one(objects, "Secret", secret)["data"] or {}
    return {name: base64.b64decode(text).decode() for name, text in data.items()}


def _said(objects: list[dict[str, Any]], place: Path) -> settings.Settings:
    """Return the settings that the platform reads."""
    (place / "kqi-hub.toml").write_text(_files(objects, "kqi-config")["kqi-hub.toml"])
    return settings.load(place / "kqi-hub.toml", environ={})


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
            assert {"requests", "limits"} <= container["resources"].keys(), name
        with_token = {"Deployment/kqi-hub", "Deployment/kqi-api"}
        assert spec["automountServiceAccountToken"] is (name in with_token), name


def test_rights_are_named_one_by_one(objects: list[dict[str, Any]]) -> None:
    rules = [
        (found["kind"], rule)
        for found in objects
        if found["kind"] in {"Role", "ClusterRole"}
        for rule in found["rules"]
    ]
    (whole,) = [rule for kind, rule in rules if kind == "ClusterRole"]
    assert whole == {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    binding = _one(objects, "ClusterRoleBinding", "kqi-kqi-nodes")
    assert [subject["name"] for subject in binding["subjects"]] == ["kqi-api"], "the hub gives out nothing"
    for _, rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
    assert not [
        found for found in objects if found["kind"] == "RoleBinding" and found["metadata"]["namespace"] == "default"
    ]


def test_the_platform_takes_its_settings(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    read = _said(objects, tmp_path)
    assert read.engine.kind == "kubernetes" and read.url == "https://kqi.example.org"
    assert read.on_cluster.images["default"].startswith("kqi/jupyterlab:")


def test_what_is_said_of_peoples_pods_reaches_the_engine(tmp_path: Path) -> None:
    for variant, check in (("nfs, cards, own database", True), ("one machine", False)):
        told = kubernetes_settings(_said(rendered(_VARIANTS[variant]), tmp_path))
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
        kind, name = found["kind"], found["metadata"]["name"]
        drawn = kind == "Secret" and re.search("-(secrets|database)$", name)
        around_work = kind == "NetworkPolicy" and "namespace" in found["metadata"]
        kept = found["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
        assert kept is bool(kind in lasting or drawn or around_work), name


def test_what_may_hold_a_password_is_in_secrets_that_hub_api_and_job_read() -> None:
    marked = {
        "hub": {
            "config": {"GenericOAuthenticator": {"client_secret": "mark-1"}},
            "extraConfig": {"own": "x = 'mark-2'"},
        },
        "settings": {"traits": {"LDAPAuthenticator": {"lookup_dn_search_password": "mark-3"}}},
    }
    found = rendered({**_BASE, **marked})
    assert "mark-" not in json.dumps(found)
    toml = _files(found, "kqi-config")["kqi-hub.toml"]
    assert "mark-1" in toml and "mark-3" in toml and _files(found, "kqi-extra-config") == {"own.py": "x = 'mark-2'"}
    readers = {name: spec for name, spec in _templates(found) if re.search("-(hub|api|prepare-1)$", name)}
    assert len(readers) == 3
    for name, spec in readers.items():
        (volume,) = [one for one in spec["volumes"] if one["name"] == "config"]
        assert volume["secret"]["secretName"] == "kqi-config", name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
            assert container["name"] == "tools" or mounts["config"] == "/etc/kqi", name


def _restarted(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the deployments whose pods are made anew by a change of values."""
    told: list[dict[str, Any]] = [
        {found["metadata"]["name"]: found["spec"]["template"] for found in made if found["kind"] == "Deployment"}
        for made in (rendered(before), rendered(after))
    ]
    return {name for name, template in told[0].items() if told[1][name] != template}


def test_a_change_restarts_those_that_read_it() -> None:
    def token(text: str) -> dict[str, Any]:
        return {**_BASE, "proxy": {"secretToken": text}}

    assert _restarted(_BASE, _BASE) == set(), "one that is drawn is the same at each upgrade"
    assert _restarted(token("a"), token("b")) == {"kqi-hub", "kqi-proxy"}
    for change in ({"settings": {"limits": {"running_per_person": 4}}}, {"hub": {"extraConfig": {"own": ""}}}):
        assert _restarted(_BASE, {**_BASE, **change}) == {"kqi-hub", "kqi-api"}


def test_volumes_of_an_administrator_reach_those_who_read_from_them() -> None:
    volume = {"name": "site", "secret": {"secretName": "site"}}
    mount = {"name": "site", "mountPath": "/etc/site", "readOnly": True}
    extra = {"extraVolumes": [volume], "extraVolumeMounts": [mount]}
    for part, readers in (("api", {"Deployment/kqi-api", "Job/kqi-prepare-1"}), ("hub", {"Deployment/kqi-hub"})):
        with_it = {
            name: {
                one["name"]
                for one in [*spec["containers"], *spec.get("initContainers", [])]
                if mount in one["volumeMounts"]
            }
            for name, spec in _templates(rendered({**_BASE, part: extra}))
            if volume in spec.get("volumes", [])
        }
        assert with_it.keys() == readers
        assert {"wait-for-prepare", part} in with_it.values()


def test_the_hub_is_not_cut_off_from_what_it_needs(objects: list[dict[str, Any]]) -> None:
    policies = [found for found in objects if found["kind"] == "NetworkPolicy" and "namespace" not in found["metadata"]]
    assert {name["metadata"]["name"] for name in policies} >= {"kqi-hub", "kqi-api", "kqi-proxy"}
    assert all(found["spec"]["policyTypes"] == ["Ingress"] for found in policies)


def test_who_may_not_see_nodes_says_what_there_is(tmp_path: Path) -> None:
    told = {"cpu": 64, "memoryGb": 256.5, "gpus": {"a100": 8}}
    values = {**_BASE, "rbac": {"nodes": False}, "gpus": {"a100": {"memoryMib": 81920}, "slice": {}}}
    found = kubernetes_settings(_said(rendered({**values, "capacity": told}), tmp_path)).capacity
    assert found and (found.cpu_milli, found.memory_mib) == (64_000, 262_656)
    assert [(kind.name, len(kind.indexes), kind.memory_mib) for kind in found.gpus] == [
        ("a100", 8, 81920),
        ("slice", 0, None),
    ]
    with pytest.raises(AssertionError, match="say in capacity"):
        rendered(values)
    with pytest.raises(AssertionError, match="cpu"):
        rendered({**values, "capacity": {"memoryGb": 1}})
    with pytest.raises(ConfigError, match="h100"):
        _said(rendered({**values, "capacity": {**told, "gpus": {"h100": 1}}}), tmp_path)


def test_what_is_opened_leaves_out_what_stays_closed(tmp_path: Path) -> None:
    network = {"intranet": ["10.0.0.0/8", "192.168.4.0/24"], "cluster": ["10.96.0.0/12", "192.168.0.0/28"]}
    objects = rendered({**_BASE, "singleuser": {"networkPolicy": network}})
    egress = _one(objects, "NetworkPolicy", "kqi-work")["spec"]["egress"]
    blocks = {
        to["ipBlock"]["cidr"]: set(to["ipBlock"].get("except", ()))
        for rule in egress
        for to in rule["to"]
        if "ipBlock" in to
    }
    assert blocks.pop("0.0.0.0/0") > {"10.0.0.0/8", "10.96.0.0/12", "169.254.0.0/16", "168.63.129.16/32"}
    assert blocks == {"10.0.0.0/8": {"10.96.0.0/12"}, "192.168.4.0/24": set()}
    said = _said(objects, tmp_path)
    assert said.sources.private_networks == network["intranet"]
    assert set(said.outbound.closed_networks) > set(network["cluster"])
    for inner in ("10.96.0.0/12", "10.100.0.0/16", "169.254.169.254/32"):
        with pytest.raises(AssertionError, match=f"{inner} lies in"):
            rendered({**_BASE, "singleuser": {"networkPolicy": {**network, "intranet": [inner]}}})


def test_runs_come_to_an_address_whose_certificate_is_valid(tmp_path: Path) -> None:
    plain = _said(rendered(_BASE), tmp_path).addresses
    guarded = _said(rendered({**_BASE, "proxy": _HTTPS}), tmp_path).addresses
    assert plain and plain.inside == "http://kqi-proxy-public.kqi.svc"
    assert guarded and guarded.inside == "", "as people do"


def test_a_gateway_serves_nothing_in_clear() -> None:
    found = rendered(_VARIANTS["a gateway"])
    for name, listener in (("kqi", "https"), ("kqi-redirect", "http")):
        (parent,) = _one(found, "HTTPRoute", name)["spec"]["parentRefs"]
        assert parent["sectionName"] == listener
    assert "backendRefs" not in json.dumps(_one(found, "HTTPRoute", "kqi-redirect"))


def test_secrets_that_exist_already_are_taken_and_none_is_drawn() -> None:
    bundled = {**_BASE["database"]["bundled"], "existingSecret": "theirs"}
    found = rendered({**_BASE, "database": {"bundled": bundled}, "hub": {"existingSecret": "ours"}})
    assert {one["metadata"]["name"] for one in found if one["kind"] == "Secret"} == {"kqi-config", "kqi-extra-config"}
    for name, spec in _templates(found):
        named = {one["secret"]["secretName"] for one in spec.get("volumes", []) if "secret" in one}
        assert name in {"Deployment/kqi-proxy", "Pod/kqi-test"} or "theirs" in named, name


def test_parts_that_are_one_hinder_no_drain_and_several_are_apart(objects: list[dict[str, Any]]) -> None:
    api = _one(objects, "Deployment", "kqi-api")["spec"]
    budgets = [found["metadata"]["name"] for found in objects if found["kind"] == "PodDisruptionBudget"]
    assert budgets == (["kqi-api"] if api["replicas"] > 1 else [])
    (spread,) = api["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["labelSelector"] == api["selector"]


def test_every_part_goes_to_the_nodes_that_are_chosen_for_it() -> None:
    where = {"nodeSelector": {"role": "services"}, "tolerations": [{"key": "services", "operator": "Exists"}]}
    bundled = {**_BASE["database"]["bundled"], **where}
    parts = {"hub": where, "api": where, "proxy": {"chp": where}, "database": {"bundled": bundled}}
    for name, spec in _templates(rendered({**_BASE, **parts})):
        assert {key: spec.get(key) for key in where} == where, name


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
        ({**_BASE, "hub": {"networkPolicy": {"extraEgress": [{}]}}}, "extraEgress"),
        ({**_BASE, "proxy": _HTTPS, "ingress": _INGRESS}, "proxy.https.enabled: TLS ends at ingress"),
        ({**_VARIANTS["a gateway"], "proxy": _HTTPS}, "proxy.https.enabled: TLS ends at ingress"),
        ({**_BASE, "httpRoute": {"enabled": True, "gateway": {**_GATEWAY, "sectionName": ""}}}, "gateway.sectionName"),
        (
            {**_BASE, "httpRoute": {"enabled": True, "gateway": {**_GATEWAY, "httpSectionName": ""}}},
            "gateway.httpSectionName",
        ),
        ({**_BASE, "hub": {"existingSecret": "ours"}, "proxy": {"secretToken": "a"}}, "proxy.secretToken"),
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


def test_what_the_chart_cannot_do_by_itself_is_told(spaces: Cluster) -> None:
    """The label of a namespace that it did not make, and the deletion of policies that it keeps."""

    def notes(**values: Any) -> str:
        words = ("upgrade", "--install", "second", CHART, "--namespace", "kqi", "--dry-run=server")
        said = helm(*words, "--kubeconfig", spaces.kubeconfig, values={**_BASE, **values})
        return said.partition("NOTES:")[2]

    kept = {"app.kubernetes.io/instance": "second", "app.kubernetes.io/managed-by": "Helm"}
    release = {"meta.helm.sh/release-name": "second", "meta.helm.sh/release-namespace": "kqi"}
    for name, labels in (("second-kqi-work", kept), ("second-kqi-work-gone", kept), ("second-kqi-work-else", {})):
        about = {"name": name, "namespace": "kqi-work", "labels": labels, "annotations": release}
        policy = {"kind": "NetworkPolicy", "metadata": about, "spec": {"podSelector": {}}}
        spaces.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "networking.k8s.io/v1", **policy}))
    there = {"create": False}
    told = notes(work=there)
    assert "kubectl label namespace kqi-work pod-security.kubernetes.io/enforce=restricted" in told
    assert re.findall("delete networkpolicy (.*)", told) == ["second-kqi-work-gone"]
    assert "second-kqi-work\n" in notes(work=there, singleuser={"networkPolicy": {"enabled": False}})
    told = notes(work={"namespace": "kqi"}, storage={"kind": "class", "class": "shared"})
    assert "kubectl label namespace kqi " in told
    assert "delete networkpolicy" not in told and "kubectl label" not in notes(work={"namespace": "other"})
