"""Helm, built with the cluster's other programs, and what it makes of the chart."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.harness import build

CHART = Path(__file__).parents[2] / "helm" / "kqi"
# Of a chart that is rendered without a cluster to ask.
_VERSION = "1.36.0"


def helm(*words: object, values: Mapping[str, Any] | None = None, check: bool = True) -> str:
    """Return what it says. `values` are given as JSON, which is YAML."""
    (folder,) = build.binaries(["helm"])
    given = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [folder / "helm", *map(str, words), *given],
        input=json.dumps(values) if values is not None else None,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + ("" if done.returncode == 0 else done.stderr)


def rendered(values: Mapping[str, Any], *, namespace: str = "kqi", name: str = "kqi") -> list[dict[str, Any]]:
    """Return the chart's objects, tests included."""
    text = helm("template", name, CHART, "--namespace", namespace, "--kube-version", _VERSION, values=values)
    return [found for found in yaml.safe_load_all(text) if found]
