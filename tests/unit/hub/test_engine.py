"""What an administrator says of a cluster is what the engine is told, field by field."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.engine import kubernetes_settings, secret_files
from kqi_hub.errors import ConfigError
from kqi_hub.i18n import text
from kqi_hub.settings import load
from kqi_spawner.kubernetes.settings import Cards, Claim, KubernetesSettings, Space, Toleration, Who
from kqi_spawner.status import Capacity, GpuKind

_SAID = """
[engine]
kind = "kubernetes"
[[volumes]]
name = "models"
claim = "nas"
folder = "models"
[kubernetes]
platform = "lab"
namespace = "lab-work"
claim = "lab-store"
kubeconfig = "/etc/lab/kubeconfig"
images = {default = "registry.example/lab:1"}
allowed_images = ["registry.example/*"]
image_pull_secrets = ["registry"]
image_patience_s = 90
user = [2000, 200]
cpu_request_share = 0.25
memory_request_share = 0.5
shm_mib = 512
node_selector = {pool = "work"}
priority_class = "lab-work"
who = {robotics = "root", vision = "person"}
accounts = {hanako = [2001, 2002]}
pod_labels = {"example.org/cost-centre" = "7"}
pod_annotations = {"example.org/mesh" = "off"}
[[kubernetes.tolerations]]
key = "work"
value = "kqi"
effect = "NoSchedule"
[[kubernetes.cards]]
kind = "a100"
resource = "nvidia.com/mig-1g.10gb"
node_selector = {gpu = "a100"}
tolerations = [{key = "nvidia.com/gpu"}]
memory_mib = 10240
[kubernetes.capacity]
cpu = 64
memory_gb = 256.5
gpus = {a100 = 2}
[kubernetes.root]
namespace = "lab-root"
claim = "lab-store"
"""
_TOLD = {
    "platform": "lab",
    "namespace": "lab-work",
    "store": Path("/srv/store"),
    "claim": "lab-store",
    "kubeconfig": Path("/etc/lab/kubeconfig"),
    "images": {"default": "registry.example/lab:1"},
    "allowed_images": ("registry.example/*",),
    "volumes": {"models": Claim("nas", "models")},
    "image_pull_secrets": ("registry",),
    "image_patience_s": 90,
    "user": (2000, 200),
    "who": {"robotics": Who.ROOT, "vision": Who.PERSON},
    "accounts": {"hanako": (2001, 2002)},
    "root": Space(namespace="lab-root", claim="lab-store"),
    "cpu_request_share": 0.25,
    "memory_request_share": 0.5,
    "shm_mib": 512,
    "node_selector": {"pool": "work"},
    "priority_class": "lab-work",
    "pod_labels": {"example.org/cost-centre": "7"},
    "pod_annotations": {"example.org/mesh": "off"},
    "tolerations": (Toleration(key="work", value="kqi", effect="NoSchedule"),),
    "capacity": Capacity(
        cpu_milli=64_000, memory_mib=262_656, gpus=(GpuKind(name="a100", indexes=(0, 1), memory_mib=10240),)
    ),
    "cards": {
        "a100": Cards(
            resource="nvidia.com/mig-1g.10gb",
            node_selector={"gpu": "a100"},
            tolerations=(Toleration(key="nvidia.com/gpu"),),
            memory_mib=10240,
        )
    },
}
# What no administrator has a reason to change.
_FIXED = {"tools"}


def told(text: str, **changes: Any) -> KubernetesSettings:
    said = tomllib.loads(text)
    said["kubernetes"].update(changes)
    return kubernetes_settings(load(environ={}, state="/srv/state", store="/srv/store", **said))


def test_every_word_on_the_cluster_reaches_the_engine() -> None:
    assert {one.name for one in fields(KubernetesSettings)} == _TOLD.keys() | _FIXED
    made = told(_SAID)
    assert {name: getattr(made, name) for name in _TOLD} == _TOLD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpu_request_share", 0),
        ("memory_request_share", 1.5),
        ("shm_mib", 0),
        ("tolerations", [{"value": "kqi"}]),
        ("tolerations", [{"key": "a", "effect": "Never"}]),
        ("priority", "high"),
        ("who", {"robotics": "king"}),
        ("accounts", {"hanako": [0, 0]}),
        ("capacity", {"cpu": 0, "memory_gb": 1}),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as refused:
        told(_SAID, **{key: value})
    assert refused.value.params["key"].startswith(f"kubernetes.{key}")


def test_root_needs_a_namespace_of_its_own() -> None:
    with pytest.raises(ConfigError) as refused:
        told(_SAID, root=None)
    assert "root.namespace" in text(refused.value.code, "ja", refused.value.params)


def test_what_the_configuration_names_as_secret_is_hidden_from_runs(tmp_path: Path) -> None:
    config, password, key = tmp_path / "kqi-hub.toml", tmp_path / "ldap-password", tmp_path / "client-key"
    for secret in (password, key):
        secret.touch(mode=0o600)
    authorities = tmp_path / "ca.pem"
    authorities.touch(mode=0o644)
    config.write_text(
        f'server = {{tls_cert = "/etc/lab/cert.pem", tls_key = "/etc/lab/key.pem"}}\n'
        f'database = {{url = "postgresql://kqi@db/kqi", password_file = "/etc/lab/database"}}\n'
        f'smtp = {{host = "mail", sender = "kqi@example.org", password_file = "/etc/lab/mail"}}\n'
        f'[traits.LdapTraits]\nlookup_dn_search_password_file = "{password}"\nca_file = "{authorities}"\n'
        f'tls_kwargs = {{local_private_key_file = "{key}"}}\nuser_search_base = "/not/a/file"\n'
    )
    named = {str(path) for path in secret_files(load(config, {}, state=str(tmp_path / "state")))}
    assert named == {str(config), "/etc/lab/key.pem", "/etc/lab/database", "/etc/lab/mail", str(password), str(key)}
