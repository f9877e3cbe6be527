"""A workload as Kubernetes objects: plain dictionaries from pure functions."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import entry, labels
from kqi_spawner.kubernetes.settings import Cards, KubernetesSettings, Toleration, Who
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
_DOCKER_HUB = "https://index.docker.io/v1/"
_ALIASES: Mapping[str, str] = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}


def job(workload: Workload, image: str, of: KubernetesSettings) -> Manifest:
    """Return the Job. Raises `CannotStart` for what no pod can be given."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": workload.name,
            "labels": {**labels.ours(of.platform, workload.name), **labels.values(labels.whose(workload))},
            "annotations": {labels.LOG: workload.log.text, **labels.whose(workload)},
        },
        "spec": {
            **{"backoffLimit": 0, "completions": 1, "parallelism": 1, "ttlSecondsAfterFinished": _TTL_S},
            "template": {
                "metadata": _template_metadata(workload, of),
                "spec": pod_spec(workload, image, of),
            },
        },
    }


def alone(job: Manifest) -> Manifest:
    """Return the pod of a Job as one that no Job keeps: of a server, which nobody would begin again."""
    template, kept = job["spec"]["template"], job["metadata"]
    annotations = {**template["metadata"].get("annotations", {}), **kept["annotations"]}
    metadata = {**template["metadata"], "name": kept["name"], "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


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


def pull_secret(workload: Workload, image: str, of: KubernetesSettings) -> Manifest | None:
    """Return what the image is pulled with, of what its person has; None where they have nothing for its registry."""
    wanted = _registry_of(image)
    found = [one for one in workload.registries if _ALIASES.get(one.server, one.server) == wanted]
    if not found:
        return None
    one = found[0]
    sent = base64.b64encode(f"{one.username}:{one.password.reveal()}".encode()).decode()
    key = _DOCKER_HUB if wanted == "docker.io" else wanted
    said = {"auths": {key: {"username": one.username, "password": one.password.reveal(), "auth": sent}}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": pull_name(workload.name), "labels": labels.ours(of.platform, workload.name)},
        "stringData": {".dockerconfigjson": json.dumps(said)},
    }


def pull_name(workload: str) -> str:
    return f"{workload}-pull"


def _registry_of(image: str) -> str:
    """Return the host that an image is pulled from, as container engines read its name."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return _ALIASES.get(first, first) if named else "docker.io"


def port_of(found: Manifest) -> int | None:
    """Return the port that the workload of a Job or pod listens on."""
    spec = found["spec"]
    for container in spec.get("template", found)["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == PORT:
                return int(port["containerPort"])
    return None


def pod_spec(workload: Workload, image: str, of: KubernetesSettings) -> Manifest:
    """Return a pod that may run under Pod Security "restricted", or "baseline" where people are root in theirs."""
    who = of.who_is(workload.tenant)
    mounts, volumes = _places(workload, of)
    cards = _cards(workload, of)
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **_identity(workload, of),
        **_placement(workload, cards, of, own=pull_secret(workload, image, of)),
        "containers": [
            {
                "name": MAIN,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", _literal(entry.script(workload, shared=who is not Who.ACCOUNT))],
                "env": _environment(workload, cards),
                "resources": _resources(workload, cards, of),
                "securityContext": {} if who is Who.ROOT else dict(RESTRICTED),
                "volumeMounts": mounts,
                **({"ports": [{"name": PORT, "containerPort": workload.port}]} if workload.port else {}),
            }
        ],
        "volumes": volumes,
    }


def _identity(workload: Workload, of: KubernetesSettings) -> Manifest:
    """Return who the pod runs as. All share the group of the platform's account, which can so see to their files."""
    uid, gid = of.user
    shared: Manifest = {"supplementalGroups": [gid]}
    # None of this changes who can read what a volume holds already.
    common = {"fsGroup": gid, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}}
    match of.who_is(workload.tenant):
        case Who.ACCOUNT:
            is_who: Manifest = {"runAsNonRoot": True, "runAsUser": uid, "runAsGroup": gid}
        case Who.IMAGE:
            is_who = {"runAsNonRoot": True, **shared}
        case Who.PERSON:
            own = of.accounts.get(workload.person)
            if own is None:
                raise CannotStart(f"no uid is known of {workload.person!r}")
            is_who = {"runAsNonRoot": True, "runAsUser": own[0], "runAsGroup": own[1], **shared}
        case Who.ROOT:
            return {"hostUsers": False, "securityContext": {"runAsUser": 0, "runAsGroup": 0, **shared, **common}}
    return {"securityContext": {**is_who, **common}}


# An image may ask for all cards of its node, and the nodes' runtime would give them.
_NO_CARDS = {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}


def _environment(workload: Workload, cards: Cards | None) -> list[Manifest]:
    given = {**workload.environment, "KQI_ROOT": "/kqi", **({} if cards else _NO_CARDS)}
    return [{"name": name, "value": _literal(value)} for name, value in given.items()]


def _literal(text: str) -> str:
    """Kubernetes puts variables in the place of `$(NAME)`, and one `$` in that of two."""
    return text.replace("$", "$$")


def _template_metadata(workload: Workload, of: KubernetesSettings) -> Manifest:
    owner = labels.values(labels.whose(workload))
    made: Manifest = {"labels": {**of.pod_labels, **labels.ours(of.platform, workload.name), **owner}}
    return {**made, "annotations": dict(of.pod_annotations)} if of.pod_annotations else made


def _placement(workload: Workload, cards: Cards | None, of: KubernetesSettings, own: Manifest | None) -> Manifest:
    """Return where it may run and who goes first. Raises `CannotStart` for nodes that its tenant may not use."""
    single = {label: values[0] for label, values in workload.nodes.items() if len(values) == 1}
    several = {label: values for label, values in workload.nodes.items() if len(values) > 1}
    nodes = dict(single)
    for label, value in {**of.node_selector, **(cards.node_selector if cards else {})}.items():
        if nodes.setdefault(label, value) != value or value not in several.get(label, (value,)):
            raise CannotStart(f"the tenant may not use nodes with {label}={value}")
    tolerated = [*of.tolerations, *(cards.tolerations if cards else ())]
    pulled_with = [*([own["metadata"]["name"]] if own else ()), *of.image_pull_secrets]
    made: Manifest = {
        "nodeSelector": nodes,
        "affinity": _one_of(several),
        "tolerations": [_toleration(one) for one in tolerated],
        "priorityClassName": of.priority_class,
        "imagePullSecrets": [{"name": name} for name in pulled_with],
    }
    return {key: value for key, value in made.items() if value}


def _one_of(labels_: Mapping[str, Sequence[str]]) -> Manifest:
    """Return the demand for nodes that have, of each label, one of these values."""
    wanted = [{"key": label, "operator": "In", "values": list(values)} for label, values in labels_.items()]
    term = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}} if wanted else {}


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
    bounds = [bound for bound in (of.shm_mib, workload.shm_mib) if bound is not None]
    largest = {"sizeLimit": f"{min(bounds)}Mi"} if bounds else {}
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
