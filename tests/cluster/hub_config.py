"""Configuration of a hub under test; what it must know comes in one variable."""

import json
import os
import urllib.request
from pathlib import Path

from jupyterhub.auth import DummyAuthenticator
from jupyterhub.proxy import Proxy

from kqi_hub.i18n import choose, text
from kqi_hub.jupyterhub.progress import PROGRESS
from kqi_spawner.jupyterhub.kube_spawner import KqiKubeSpawner
from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.settings import KubernetesSettings

given = json.loads(os.environ["KQI_TEST_HUB"])
engine = given["engine"]
settings = KubernetesSettings(
    **{
        **engine,
        "store": Path(engine["store"]),
        "kubeconfig": Path(engine["kubeconfig"]),
        "user": tuple(engine["user"]),
    },
)


class NoProxy(Proxy):  # type: ignore[misc]
    """Nobody comes by a browser here."""

    should_start = False

    async def add_route(self, routespec, target, data): ...

    async def delete_route(self, routespec): ...

    async def get_all_routes(self):
        return {}


def forwarded(_spawner, pod):
    """The hub stands outside of the cluster: its tests make a way to each pod."""
    port = next(port["containerPort"] for port in pod["spec"]["containers"][0]["ports"])
    asked = json.dumps({"host": pod["status"]["podIP"], "port": port}).encode()
    with urllib.request.urlopen(f"{given['api']}/forward", data=asked) as answer:
        return json.loads(answer.read())["url"]


def placed(spawner, pod):
    if spawner.user.name.startswith("waiter"):
        pod.spec.node_selector = {"kqi-test": "room"}
    return pod


class Readers(DummyAuthenticator):  # type: ignore[misc]
    """Anybody, with the platform's account of a start."""

    def get_handlers(self, app):
        return [*super().get_handlers(app), *PROGRESS]


def hurried(spawner):
    match spawner.user.name:
        case "finn":
            spawner.startup_timeout = 6
        case "homer" | "homeless":  # as a site with a volume for each person would have it
            spawner.storage_pvc_ensure = True
            spawner.storage_class = ""
            spawner.storage_capacity = "1Gi" if spawner.user.name == "homer" else "none"
            claim = {"persistentVolumeClaim": {"claimName": spawner.pvc_name}}
            spawner.volumes = {"own": {"name": "own", **claim}}
            spawner.volume_mounts = {"own": {"name": "own", "mountPath": "/own"}}
        case "waiter-long":
            spawner.start_timeout = 6  # as a site without an api would have it
        case "waiter-short":
            spawner.capacity_timeout = 3


c = get_config()  # noqa: F821
c.JupyterHub.bind_url = given["url"]
c.JupyterHub.hub_bind_url = given["url"]
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.db_url = f"sqlite:///{given['state']}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{given['state']}/cookie"
c.JupyterHub.authenticator_class = Readers
c.JupyterHub.cleanup_servers = False
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = KqiKubeSpawner
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.services = [{"name": "tests", "admin": True, "api_token": given["token"]}]
c.JupyterHub.log_level = "INFO"
c.Authenticator.allow_all = True
c.Spawner.http_timeout = 30
c.Spawner.poll_interval = 1
c.Spawner.consecutive_failure_limit = 0
c.KqiKubeSpawner.open_backend = lambda: KubernetesBackend.opened(settings)
c.KqiKubeSpawner.api_url = given["api"]
c.KqiKubeSpawner.api_token_file = f"{given['state']}/service-token"
c.KqiKubeSpawner.language_cookie = "kqi-language"
c.KqiKubeSpawner.say = lambda key, language, params: text(key, choose(language), params)
c.KqiKubeSpawner.pre_spawn_hook = hurried
# As a z2jh site would have it.
c.KubeSpawner.get_pod_url = forwarded
c.KubeSpawner.modify_pod_hook = placed
c.KubeSpawner.extra_labels = {"team": "vision"}
c.KubeSpawner.environment = {"SITE": "here"}
c.KubeSpawner.volumes = {"more": {"name": "more", "emptyDir": {}}}
c.KubeSpawner.volume_mounts = {"more": {"name": "more", "mountPath": "/more"}}
