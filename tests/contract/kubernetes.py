"""The Kubernetes engine on a cluster, in a namespace of the tests' own."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

from kqi_spawner.kubernetes.backend import KubernetesBackend
from kqi_spawner.kubernetes.settings import Cards, KubernetesSettings
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.lent import Lent

from .engines import Engine

_USER = (1000, 100)


@asynccontextmanager
async def engine(cluster: Cluster | Lent) -> AsyncIterator[Engine]:
    with space(cluster) as settings:
        # A kubelet that has begun to stop a container lets the grace it began with run out, whatever comes after.
        backend = await KubernetesBackend.opened(settings)
        cards = (await backend.capacity()).gpus
        kind = next((one.name for one in cards if one.indexes), "")
        made = Engine(backend, long_grace_s=10, store=settings.store, give=give, kind=kind)
        made.reopen = lambda: KubernetesBackend.opened(settings)
        try:
            yield made
        finally:
            await made.close()


@contextmanager
def space(cluster: Cluster | Lent) -> Iterator[KubernetesSettings]:
    """A namespace and a store of its own, under Pod Security "restricted"."""
    name = f"contract-{uuid4().hex[:8]}"
    store = Path(tempfile.mkdtemp(dir=cluster.folder, prefix="store-"))
    store.chmod(0o755)
    for folder in ("runs", "tools/bin"):
        (store / folder).mkdir(parents=True)
    busybox = store / "tools/bin/busybox"
    shutil.copy(shutil.which("busybox") or "busybox", busybox)
    for program in ("env", "setsid", "sleep", "mkdir", "ln", "kill"):
        (store / "tools/bin" / program).symlink_to("busybox")
    os.chown(store / "runs", *_USER)
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    cluster.kubectl("apply", "-f", "-", text=claim(name, store))
    # No pod is let in before.
    cluster.kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    settings = KubernetesSettings(
        platform=name,
        namespace=name,
        store=store,
        claim="store",
        images={"default": cluster.image},
        kubeconfig=cluster.kubeconfig,
        user=_USER,
        cards={"card": Cards()},
        image_patience_s=3,
    )
    try:
        yield settings
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
        cluster.kubectl("delete", "pv", name, "--wait=false")


def give(place: Path) -> None:
    """Give a folder of the store to those who work in it, as the platform does."""
    os.chown(place, *_USER)
    place.chmod(0o2770)


def claim(space: str, store: Path, name: str = "store") -> str:
    """Return a volume that is a folder of the nodes, and the claim in a namespace that it is for."""
    volume = space if name == "store" else f"{space}-{name}"
    return f"""
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {volume}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: {space}, name: {name}}}
  hostPath: {{path: {store}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}, namespace: {space}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: {volume}
  resources: {{requests: {{storage: 1Gi}}}}
"""
