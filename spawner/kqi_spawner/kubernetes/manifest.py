"""A workload as Kubernetes objects: plain dictionaries from pure functions."""

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import entry, labels
from kqi_spawner.kubernetes.settings import Cards, KubernetesSettings, Toleration
from kqi_spawner.workload import Access, Mount, VolumePath, Workload

MAIN = "main"
PORT = "notebook-port"
# What Pod Security "restricted" wants of each container.
RESTRICTED: Mapping[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SHM = "/dev/shm"  # noqa: S108
# For a Job that nobody forgot, whatever the reason.
_TTL_S = 7 * 24 * 3600
# A stop says itself how long it waits; this is for those who end pods otherwise.
_GRACE_S = 30
SECRETS_AT = "/kqi/.secrets"
# Names of volumes, apart from those that an administrator may add.
STORE, MEMORY, SCRATCH, SECRETS = "kqi-store", "kqi-memory", "kqi-scratch", "kqi-secrets"
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
                "metadata": _template_metadata(workload, of),
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


def owned_by(job: Manifest) -> Manifest:
    """Return the change by which an object is removed together with a Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}


def port_of(job: Manifest) -> int | None:
    """Return the port that its workload listens on."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == PORT:
                return int(port["containerPort"])
    return None


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
        **_placement(cards, of),
        "containers": [
            {
                "name": MAIN,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", _literal(entry.script(workload))],
                "env": _environment(workload),
                "resources": _resources(workload, cards, of),
                "securityContext": dict(RESTRICTED),
                "volumeMounts": mounts,
                **({"ports": [{"name": PORT, "containerPort": workload.port}]} if workload.port else {}),
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


def _template_metadata(workload: Workload, of: KubernetesSettings) -> Manifest:
    made: Manifest = {"labels": {**of.pod_labels, **labels.ours(of.platform, workload.name)}}
    return {**made, "annotations": dict(of.pod_annotations)} if of.pod_annotations else made


def _placement(cards: Cards | None, of: KubernetesSettings) -> Manifest:
    """Return where it may run and who goes first; the kind of cards has the last word on the nodes."""
    nodes = {**of.node_selector, **(cards.node_selector if cards else {})}
    tolerated = [*of.tolerations, *(cards.tolerations if cards else ())]
    made: Manifest = {
        "nodeSelector": nodes,
        "tolerations": [_toleration(one) for one in tolerated],
        "priorityClassName": of.priority_class,
        "imagePullSecrets": [{"name": name} for name in of.image_pull_secrets],
    }
    return {key: value for key, value in made.items() if value}


def _toleration(of: Toleration) -> Manifest:
    means = {"operator": "Exists"} if of.value is None else {"operator": "Equal", "value": of.value}
    return {"key": of.key, **means, **({"effect": of.effect} if of.effect else {})}


def _resources(workload: Workload, cards: Cards | None, of: KubernetesSettings) -> Manifest:
    asked = workload.resources
    limits = {"cpu": f"{asked.cpu_milli}m", "memory": f"{asked.memory_mib}Mi"}
    kept = {
        "cpu": f"{math.ceil(asked.cpu_milli * of.cpu_request_share)}m",
        "memory": f"{math.ceil(asked.memory_mib * of.memory_request_share)}Mi",
    }
    # Cards are never oversold: the cluster takes no request for them that differs from the limit.
    given = {cards.resource: str(len(asked.gpus))} if cards else {}
    return {"requests": {**kept, **given}, "limits": {**limits, **given}}


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
    tools: Manifest = {"name": STORE, "mountPath": "/kqi/tools", "subPath": of.tools, "readOnly": True}
    log: Manifest = {"name": STORE, "mountPath": entry.LOG, "subPath": workload.log.text}
    claims = _claims(workload, of)
    mounts = [tools, log, *(_mount(mount, of) for mount in workload.mounts)]
    mounts.append({"name": MEMORY, "mountPath": SHM})
    largest = {"sizeLimit": f"{of.shm_mib}Mi"} if of.shm_mib is not None else {}
    volumes: list[Manifest] = [
        {"name": STORE, "persistentVolumeClaim": {"claimName": of.claim}},
        {"name": MEMORY, "emptyDir": {"medium": "Memory", **largest}},
        *claims,
    ]
    for number, scratch in enumerate(workload.scratches):
        mounts.append({"name": SCRATCH, "mountPath": scratch.target, "subPath": f"scratch-{number}"})
    if workload.scratches:
        volumes.append({"name": SCRATCH, "emptyDir": {}})
    if workload.secrets:
        mounts.append({"name": SECRETS, "mountPath": SECRETS_AT, "readOnly": True})
        volumes.append({"name": SECRETS, "secret": {"secretName": workload.name, "defaultMode": 0o440}})
    # A mount inside of another one must be made after it.
    return sorted(mounts, key=lambda mount: len(PurePosixPath(mount["mountPath"]).parts)), volumes


def _claims(workload: Workload, of: KubernetesSettings) -> list[Manifest]:
    """Return the claims of an administrator that are mounted, each once."""
    named = sorted({mount.source.volume for mount in workload.mounts if isinstance(mount.source, VolumePath)})
    if unknown := [name for name in named if name not in of.volumes]:
        raise CannotStart(f"no volume is called {unknown[0]!r}")
    return [{"name": _volume(name), "persistentVolumeClaim": {"claimName": of.volumes[name].claim}} for name in named]


def _mount(mount: Mount, of: KubernetesSettings) -> Manifest:
    made: Manifest = {"mountPath": mount.target}
    if isinstance(mount.source, VolumePath):
        inside = "/".join(part for part in (of.volumes[mount.source.volume].folder, mount.source.text) if part)
        made |= {"name": _volume(mount.source.volume), **({"subPath": inside} if inside else {})}
    else:
        made |= {"name": STORE, "subPath": mount.source.text}
    return {**made, "readOnly": True} if mount.access is Access.READ_ONLY else made


def _volume(name: str) -> str:
    return f"kqi-volume-{name}"


def grace(seconds: float) -> int:
    """Return what the apiserver takes: whole seconds, and never 0, which would forget a pod that still runs."""
    return max(1, math.ceil(seconds))
