"""`tests/foreign/run`: KubeSpawner's suite against our class."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.harness.cluster import Cluster
from tests.foreign import server_images

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_PYTHON = _ROOT / ".venv/foreign/bin/python"
_VOLUMES = 8


def _volume(number: int, folder: Path) -> dict[str, object]:
    """What a claim without a class gets."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"volume-{number}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder / f"volume-{number}"), "type": "DirectoryOrCreate"},
        },
    }


def main() -> int:
    source, options = Path(sys.argv[1]), sys.argv[2:]
    site = next((_ROOT / ".venv/foreign/lib").glob("python3.*/site-packages"))
    with Cluster(gpus={}) as cluster, tempfile.TemporaryDirectory(dir=cluster.folder) as scratch:
        for archive in server_images.write(site, Path(scratch)):
            cluster.load(archive)
        for number in range(_VOLUMES):
            cluster.kubectl("apply", "-f", "-", text=json.dumps(_volume(number, cluster.folder)))
        paths = (source, _HERE, _ROOT / "spawner", _ROOT / "extensions")
        around = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            "KUBECONFIG": str(cluster.kubeconfig),
            "PYTHONPATH": ":".join(map(str, paths)),
        }
        words = [_PYTHON, "-m", "pytest", "-p", "kqi_foreign", "-o", "addopts=", "-p", "no:cacheprovider", *options]
        return subprocess.run([*map(str, words), "tests"], cwd=source, env=around).returncode


if __name__ == "__main__":
    sys.exit(main())
