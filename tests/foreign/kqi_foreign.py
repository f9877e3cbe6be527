"""Plug-in of the foreign run: our class in the place of KubeSpawner, local images in the place of a registry's."""

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import kubespawner
import kubespawner.spawner
import pytest
from jupyterhub.app import JupyterHub
from kubernetes_asyncio.client import CoreV1Api

from kqi_spawner.jupyterhub.kube_spawner import KqiKubeSpawner

kubespawner.KubeSpawner = KqiKubeSpawner
kubespawner.spawner.KubeSpawner = KqiKubeSpawner

DIFFERENCES = tomllib.loads(Path(__file__).with_name("differences.toml").read_text())
_SERVER = "localhost/foreign-server:1"
_IMAGES = (
    ("quay.io/jupyterhub/jupyterhub:", "localhost/foreign-hub:1"),
    ("quay.io/jupyterhub/singleuser:", _SERVER),
    ("python:", "localhost/foreign-hub:1"),
    ("busybox", "localhost/busybox:1"),
)


def _local(image: str) -> str:
    return next((local for prefix, local in _IMAGES if image.startswith(prefix)), image)


_create = CoreV1Api.create_namespaced_pod


async def _create_here(self: CoreV1Api, namespace: str, body: Any, **words: Any) -> Any:
    made = self.api_client.sanitize_for_serialization(body)
    for container in (*made["spec"]["containers"], *made["spec"].get("initContainers", ())):
        container["image"] = _local(container["image"])
        if container["image"] == _SERVER:
            # The suite tries three times for a second; a server here may take longer, and is ready when it listens.
            container.setdefault("readinessProbe", {"tcpSocket": {"port": "notebook-port"}, "periodSeconds": 1})
    return await _create(self, namespace, made, **words)


CoreV1Api.create_namespaced_pod = _create_here


_init_ssl = JupyterHub.init_internal_ssl


def _init_ssl_in_a_loop(self: JupyterHub) -> None:
    """The suite calls it outside of any event loop, which JupyterHub 6 does not bear."""

    async def inside() -> None:
        _init_ssl(self)

    asyncio.run(inside())


JupyterHub.init_internal_ssl = _init_ssl_in_a_loop


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if "traits" not in DIFFERENCES.get(item.originalname, {"traits": {}})]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("differences on purpose")
    for name, what in DIFFERENCES.items():
        how = f"run with {what['traits']}" if "traits" in what else "not run"
        terminalreporter.write_line(f"{name}: {how}: {what['reason']}")


@pytest.fixture(autouse=True)
def traits_by_name(request: pytest.FixtureRequest) -> None:
    traits = DIFFERENCES.get(request.node.originalname, {}).get("traits")
    if traits:
        request.getfixturevalue("config").KubeSpawner.update(traits)
