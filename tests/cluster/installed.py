"""The platform on a cluster, installed by `helm` as an administrator does it."""

import base64
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.cluster.harness import network
from tests.cluster.harness.cluster import Cluster
from tests.cluster.helm import CHART, helm
from tests.platform import PASSWORD

SPACE, WORK, NAME = "kqi", "kqi-work", "kqi"
CARD = "nvidia.com/gpu"
_USER = (1000, 100)
_NODE_PORT = 30080
_PREFIX = "localhost/kqi"
IMAGES = ("hub", "proxy", "postgres", "jupyterlab", "runner")
_CODE = """
apiVersion: v1
kind: Pod
metadata: {name: code, namespace: kqi-code, labels: {app: code}}
spec:
  automountServiceAccountToken: false
  containers:
    - name: git
      image: %s
      command: [/bin/sh, -ec, "mkdir -p /tmp/code; exec git daemon --reuseaddr --export-all --base-path=/tmp/code"]
---
apiVersion: v1
kind: Service
metadata: {name: code, namespace: kqi-code}
spec: {clusterIP: %s, selector: {app: code}, ports: [{port: 9418}]}
"""
_CODE_SERVICE = "10.96.77.77"


@dataclass(slots=True, kw_only=True)
class Installed:
    """Use as a context. `images` are archives for the nodes; `values` come on top of our own."""

    cluster: Cluster
    images: Sequence[Path]
    values: Mapping[str, Any] = field(default_factory=dict)
    tag: str
    url: str = field(init=False)
    folder: Path = field(init=False)

    def __enter__(self) -> Self:
        for archive in self.images:
            self.cluster.load(archive)
        self.folder = Path(tempfile.mkdtemp(dir=self.cluster.folder, prefix="platform-"))
        self.folder.chmod(0o755)
        for place in (self.store, self.folder / "database"):
            place.mkdir()
            os.chown(place, *_USER)
        self.url = f"http://127.0.0.1:{self.cluster.forward(network.Place(1).address, _NODE_PORT)}"
        self.upgrade()
        # A hub that is ready gives the proxy its routes a moment later.
        until = time.monotonic() + 60
        while httpx.get(f"{self.url}/services/kqi/client", trust_env=False).status_code == 404:
            assert time.monotonic() < until, "the proxy does not know the api"
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.helm("uninstall", NAME, "--wait", check=False)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def helm(self, *words: object, values: Mapping[str, Any] | None = None, check: bool = True) -> str:
        given = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", SPACE)
        return helm(*words, *given, values=values, check=check)

    def upgrade(self, chart: Path = CHART, **values: Any) -> None:
        """Install, or change; return when everything is ready."""
        words = ("upgrade", "--install", NAME, chart, "--create-namespace", "--wait", "--timeout", "5m")
        given = self._values()
        for name, value in {**self.values, **values}.items():
            given[name] = {**given.get(name, {}), **value} if isinstance(value, dict) else value
        try:
            self.helm(*words, values=given)
        except AssertionError as error:
            error.add_note(self.cluster.kubectl("-n", SPACE, "get", "pods", check=False))
            for part in ("prepare", "hub", "api", "database", "proxy"):
                chosen = ("-l", f"app.kubernetes.io/component={part}", "--all-containers", "--tail=15")
                error.add_note(f"{part}: {self.cluster.kubectl('-n', SPACE, 'logs', *chosen, check=False)}")
            raise

    def add_user(self, name: str, *more: str) -> None:
        self.command("user", "add", name, "--password-stdin", *more, text=PASSWORD + "\n")

    def command(self, *words: str, text: str | None = None) -> str:
        """Run `kqi-hub` where the api runs."""
        return self.cluster.kubectl(
            *("-n", SPACE, "exec", "-i", f"deploy/{NAME}-api", "-c", "api", "--", "kqi-hub", *words), text=text
        )

    def get(self, *words: str) -> Any:
        return json.loads(self.cluster.kubectl("-n", WORK, "get", *words, "-o", "json"))["items"]

    def published(self, place: Path) -> str:
        """Put a repository where the cluster can clone it from; return its address."""
        if "kqi-code" not in self.cluster.kubectl("get", "namespaces", "-o", "name"):
            self.cluster.kubectl("create", "namespace", "kqi-code")
            self.cluster.kubectl("apply", "-f", "-", text=_CODE % (f"{_PREFIX}/hub:{self.tag}", _CODE_SERVICE))
            self.cluster.kubectl("-n", "kqi-code", "wait", "pod/code", "--for=condition=Ready", "--timeout=60s")
            self._until_reached("code.kqi-code.svc", 9418)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(place, arcname=place.name)
        unpack = "mkdir -p /tmp/code; base64 -d | tar x --no-same-owner -C /tmp/code"
        words = ("-n", "kqi-code", "exec", "-i", "code", "--", "/bin/sh", "-ec", unpack)
        self.cluster.kubectl(*words, text=base64.b64encode(packed.getvalue()).decode())
        return f"git://code.kqi-code.svc/{place.name}"

    def _until_reached(self, host: str, port: int) -> None:
        """Wait until every api reaches a Service: each node hears of its pods by itself, a moment after they are."""
        script = f"""
import socket, time
until = time.monotonic() + 60
while True:
    try:
        socket.create_connection(({host!r}, {port}), 5).close()
        break
    except OSError:
        if time.monotonic() > until:
            raise
        time.sleep(0.1)
"""
        selector = "app.kubernetes.io/component=api"
        for pod in self.cluster.get("-n", SPACE, "pods", "-l", selector)["items"]:
            words = ("-n", SPACE, "exec", "-i", pod["metadata"]["name"], "--", "python3", "-")
            self.cluster.kubectl(*words, text=script)

    def _values(self) -> dict[str, Any]:
        def image(name: str) -> dict[str, str]:
            return {"name": f"{_PREFIX}/{name}", "tag": self.tag}

        return {
            "publicUrl": self.url,
            "hub": {"image": image("hub")},
            "proxy": {
                "chp": {"image": image("proxy")},
                "service": {"type": "NodePort", "nodePort": _NODE_PORT},
            },
            "singleuser": {
                "image": image("jupyterlab"),
                "images": {"bare": f"{_PREFIX}/postgres:{self.tag}"},
            },
            "tools": {"image": image("runner")},
            "storage": {"kind": "hostPath", "hostPath": str(self.store), "size": "10Gi"},
            "database": {"bundled": {"image": image("postgres"), "hostPath": str(self.folder / "database")}},
            "settings": {"sources": {"private_networks": [f"{_CODE_SERVICE}/32"]}},
            "gpus": {"made-up": {"resource": CARD}},
        }
