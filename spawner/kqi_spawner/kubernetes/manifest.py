"""A workload as Kubernetes objects: plain dictionaries from pure functions."""

import math
from pathlib import PurePosixPath
from typing import Any

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import entry, labels
from kqi_spawner.kubernetes.settings import Cards, KubernetesSettings
from kqi_spawner.workload import Access, Mount, Workload

MAIN = "main"
# For a Job that nobody forgot, whatever the reason.
_TTL_S = 7 * 24 * 3600
# A stop says itself how long it waits; this is for those who end pods otherwise.
_GRACE_S = 30
SECRETS_AT = "/kqi/.secrets"
Manifest = dict[str, Any]


def job(workload: Workload, image: str, of: KubernetesSettings) -> Manifest:
    """Return the Job. Raises `CannotStart` for what no pod can be given."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": workload.name,
            "labels": labels.ours(of.platform, workload.name),
            "annotations": {labels.LOG: workload.log.text},
        },
        "spec": {
            **{"backoffLimit": 0, "completions": 1, "parallelism": 1, "ttlSecondsAfterFinished": _TTL_S},
            "template": {
                "metadata": {"labels": labels.ours(of.platform, workload.name)},
                "spec": pod_spec(workload, image, of),
            },
        },
    }


def secret(workload: Workload, of: KubernetesSettings) -> Manifest | None:
    """Return what the pod reads its secrets from; None where it has none."""
    if not workload.secrets:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": workload.name, "labels": labels.ours(of.platform, workload.name)},
        "stringData": {entry.SECRETS_FILE: entry.secrets_text(workload)},
    }


def pod_spec(workload: Workload, image: str, of: KubernetesSettings) -> Manifest:
    """Return a pod that may run under Pod Security "restricted"."""
    uid, gid = of.user
    mounts, volumes = _places(workload, of)
    cards = _cards(workload, of)
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            **{"runAsNonRoot": True, "runAsUser": uid, "runAsGroup": gid, "fsGroup": gid},
            **{"fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
        },
        **({"nodeSelector": dict(cards.node_selector)} if cards and cards.node_selector else {}),
        "containers": [
            {
                "name": MAIN,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", _literal(entry.script(workload))],
                "env": _environment(workload),
                "resources": _resources(workload, cards),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
                **({"ports": [{"name": "notebook-port", "containerPort": workload.port}]} if workload.port else {}),
            }
        ],
        "volumes": volumes,
    }


def _environment(workload: Workload) -> list[Manifest]:
    given = {**workload.environment, "KQI_ROOT": "/kqi"}
    return [{"name": name, "value": _literal(value)} for name, value in given.items()]


def _literal(text: str) -> str:
    """Kubernetes puts variables in the place of `$(NAME)`, and one `$` in that of two."""
    return text.replace("$", "$$")


def _resources(workload: Workload, cards: Cards | None) -> Manifest:
    asked = workload.resources
    amounts = {"cpu": f"{asked.cpu_milli}m", "memory": f"{asked.memory_mib}Mi"}
    if cards:
        amounts[cards.resource] = str(len(asked.gpus))
    return {"requests": amounts, "limits": amounts}


def _cards(workload: Workload, of: KubernetesSettings) -> Cards | None:
    kinds = {gpu.kind for gpu in workload.resources.gpus}
    if len(kinds) > 1:
        raise CannotStart(f"cards of several kinds in one workload: {', '.join(sorted(kinds))}")
    if not kinds:
        return None
    kind = kinds.pop()
    if kind not in of.cards:
        raise CannotStart(f"no cards of kind {kind!r}; there are: {', '.join(sorted(of.cards)) or 'none'}")
    return of.cards[kind]


def _places(workload: Workload, of: KubernetesSettings) -> tuple[list[Manifest], list[Manifest]]:
    tools: Manifest = {"name": "store", "mountPath": "/kqi/tools", "subPath": of.tools, "readOnly": True}
    log: Manifest = {"name": "store", "mountPath": entry.LOG, "subPath": workload.log.text}
    mounts = [tools, log, *(_mount(mount) for mount in workload.mounts)]
    mounts.append({"name": "memory", "mountPath": "/dev/shm"})  # noqa: S108
    volumes: list[Manifest] = [
        {"name": "store", "persistentVolumeClaim": {"claimName": of.claim}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    for number, scratch in enumerate(workload.scratches):
        mounts.append({"name": "scratch", "mountPath": scratch.target, "subPath": f"scratch-{number}"})
    if workload.scratches:
        volumes.append({"name": "scratch", "emptyDir": {}})
    if workload.secrets:
        mounts.append({"name": "secrets", "mountPath": SECRETS_AT, "readOnly": True})
        volumes.append({"name": "secrets", "secret": {"secretName": workload.name, "defaultMode": 0o440}})
    # A mount inside of another one must be made after it.
    return sorted(mounts, key=lambda mount: len(PurePosixPath(mount["mountPath"]).parts)), volumes


def _mount(mount: Mount) -> Manifest:
    made: Manifest = {"name": "store", "mountPath": mount.target, "subPath": mount.source.text}
    return {**made, "readOnly": True} if mount.access is Access.READ_ONLY else made


def grace(seconds: float) -> int:
    """Return what the apiserver takes: whole seconds, and never 0, which would forget a pod that still runs."""
    return max(1, math.ceil(seconds))
