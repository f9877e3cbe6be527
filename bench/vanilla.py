"""JupyterHub 6.1 with KubeSpawner 7.1 as they come; what differs from their defaults is what a burst needs."""

import json
import os

from jupyterhub.spawner import Spawner


class Nothing(Spawner):
    """Starts nothing, at once: what is left is the hub's own work for a server, whoever starts it."""

    up = False

    async def start(self):
        self.up = True
        return given["answers"]

    async def poll(self):
        return None if self.up else 0

    async def stop(self, now=False):
        self.up = False


given = json.loads(os.environ["KQI_BENCH_HUB"])
c = get_config()  # noqa: F821
c.JupyterHub.bind_url = given["url"]
c.JupyterHub.hub_bind_url = given["hub"]
c.ConfigurableHTTPProxy.command = given["proxy"]
c.ConfigurableHTTPProxy.api_url = given["proxy_api"]
c.ConfigurableHTTPProxy.auth_token = given["proxy_token"]
c.JupyterHub.db_url = f"sqlite:///{given['state']}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{given['state']}/cookie"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "bench", "admin": True, "api_token": given["token"]}]
c.JupyterHub.trust_user_provided_tokens = True  # as ours does, for the calls of this benchmark
c.JupyterHub.log_level = "WARN"
c.JupyterHub.spawner_class = Nothing if given["answers"] else "kubespawner.KubeSpawner"
c.JupyterHub.concurrent_spawn_limit = 0  # its default of 100 would answer 429
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.KubeSpawner.namespace = given["namespace"]
c.KubeSpawner.image = given["image"]
c.KubeSpawner.start_timeout = 300
c.KubeSpawner.http_timeout = 120
# The namespaces of both sides are under Pod Security "restricted".
c.KubeSpawner.uid = 1000
c.KubeSpawner.allow_privilege_escalation = False
c.KubeSpawner.container_security_context = {
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
