"""Lays a workload over what an administrator configured for pods of servers. Pure."""

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes.manifest import RESTRICTED, SHM, Manifest

# KubeSpawner's name of the container that the server is in.
SERVER = "notebook"
# What makes a pod out of the template of a Job: metadata and spec in, metadata and spec out.
Shape = Callable[[Manifest], Manifest]

# A Job is over when its main container is; these decide that, or who the pod is.
_OURS = {"restartPolicy", "containers", "initContainers", "volumes", "securityContext"}
_LISTS = ("tolerations", "imagePullSecrets")
_HOST = ("hostNetwork", "hostPID", "hostIPC")
# Of an administrator's security settings: what can be said without leaving Pod Security "restricted".
_HARMLESS_POD = ("supplementalGroups", "supplementalGroupsPolicy", "seLinuxOptions", "fsGroupChangePolicy")
_HARMLESS_MAIN = ("readOnlyRootFilesystem", "seLinuxOptions")
_DEMAND = "requiredDuringSchedulingIgnoredDuringExecution"
_OURS_MAIN = {"name", "image", "command", "args", "workingDir", "env", "resources", "securityContext", "volumeMounts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`hidden` are variables, `counted` resources that a configured pod must not bring along."""

    hidden: Collection[str] = ()
    counted: Collection[str] = ()  # cards: who has one is admission's decision
    weaker_security: bool = False  # an administrator said so by name


def laid_over(template: Manifest, configured: Manifest, rules: Rules) -> Manifest:
    """Return the template with what `configured`, a pod, adds to it; where both speak the workload wins.

    Further containers become helpers that end with the main one. Raises `CannotStart` for what cannot be both.
    """
    base, top = configured.get("spec") or {}, template["spec"]
    _refuse_host(base, top, rules)
    theirs, others = _split(base.get("containers") or [])
    main = _main(top["containers"][0], theirs, rules)
    _refuse_same_names(base, top, others)
    helpers = [{**_hardened(other), "restartPolicy": "Always"} for other in others]
    made: Manifest = {
        **{key: copy.deepcopy(value) for key, value in top.items() if key not in _OURS},
        **{key: copy.deepcopy(value) for key, value in base.items() if key not in {*_OURS, "nodeSelector", *_LISTS}},
        **{key: copy.deepcopy(value) for key, value in top.items() if key in _OURS},
        "securityContext": _security(top["securityContext"], base.get("securityContext"), _HARMLESS_POD, rules),
        "containers": [main],
        "volumes": [*top["volumes"], *copy.deepcopy(base.get("volumes") or [])],
    }
    first = [_hardened(one) for one in base.get("initContainers") or []]
    for key, value in (
        ("initContainers", [*first, *helpers]),
        ("nodeSelector", {**(base.get("nodeSelector") or {}), **(top.get("nodeSelector") or {})}),
        ("affinity", _affinity(base.get("affinity") or {}, top.get("affinity") or {})),
        *((name, _union(base.get(name), top.get(name))) for name in _LISTS),
    ):
        if value:
            made[key] = value
    used = {mount["name"] for one in (main, *made.get("initContainers", ())) for mount in one.get("volumeMounts") or ()}
    # Of the two memory folders at one place ours went.
    ours = {volume["name"] for volume in top["volumes"]}
    made["volumes"] = [volume for volume in made["volumes"] if volume["name"] in used or volume["name"] not in ours]
    if not rules.weaker_security:
        made["automountServiceAccountToken"] = False  # a service account may be named for what it lets pods pull or be
    elif "serviceAccountName" in base and "automountServiceAccountToken" not in base:
        made.pop("automountServiceAccountToken", None)
    return {**template, "metadata": _metadata(template["metadata"], configured.get("metadata") or {}), "spec": made}


def _affinity(theirs: Manifest, ours: Manifest) -> Manifest:
    """Return both demands on nodes: a node must meet ours and, of theirs, one alternative."""
    mine = (ours.get("nodeAffinity") or {}).get(_DEMAND, {}).get("nodeSelectorTerms") or [{}]
    others = (theirs.get("nodeAffinity") or {}).get(_DEMAND, {}).get("nodeSelectorTerms") or [{}]
    terms = [
        {**other, "matchExpressions": [*(other.get("matchExpressions") or ()), *(own.get("matchExpressions") or ())]}
        for other in others
        for own in mine
    ]
    if not ours:
        return copy.deepcopy(theirs)
    return copy.deepcopy(
        {**theirs, "nodeAffinity": {**(theirs.get("nodeAffinity") or {}), _DEMAND: {"nodeSelectorTerms": terms}}}
    )


def _metadata(ours: Manifest, theirs: Manifest) -> Manifest:
    made = dict(ours)
    for key in ("labels", "annotations"):
        if both := {**(theirs.get(key) or {}), **(ours.get(key) or {})}:
            made[key] = both
    return made


def _split(containers: list[Manifest]) -> tuple[Manifest, list[Manifest]]:
    """Return the server's container and the others; a hook may have put one before it."""
    server = next((one for one in containers if one["name"] == SERVER), containers[0] if containers else {})
    return server, [one for one in containers if one is not server]


def _main(ours: Manifest, theirs: Manifest, rules: Rules) -> Manifest:
    more = [copy.deepcopy(mount) for mount in theirs.get("volumeMounts") or ()]
    own_memory = any(_at(mount) == SHM for mount in more)
    kept = [one for one in ours["volumeMounts"] if not (own_memory and _at(one) == SHM)]
    taken = {_at(one) for one in kept}
    added = [one for one in more if _at(one) not in taken and not PurePosixPath(_at(one)).is_relative_to("/kqi")]
    named = {one["name"] for one in ours["env"]}
    variables = [one for one in theirs.get("env") or () if one["name"] not in {*named, *rules.hidden}]
    return {
        **{key: copy.deepcopy(value) for key, value in theirs.items() if key not in _OURS_MAIN},
        # The policy of pulls is theirs where they have one; ports are ours where the workload has one.
        **{key: value for key, value in ours.items() if key != "imagePullPolicy" or key not in theirs},
        "env": [*copy.deepcopy(variables), *ours["env"]],
        "resources": _resources(ours["resources"], theirs.get("resources") or {}, rules),
        "securityContext": _security(ours["securityContext"], theirs.get("securityContext"), _HARMLESS_MAIN, rules),
        "volumeMounts": sorted([*kept, *added], key=lambda one: len(PurePosixPath(_at(one)).parts)),
    }


def _resources(ours: Manifest, theirs: Manifest, rules: Rules) -> Manifest:
    made: Manifest = {key: copy.deepcopy(value) for key, value in theirs.items() if key not in {"limits", "requests"}}
    for side in ("requests", "limits"):
        others = {name: amount for name, amount in (theirs.get(side) or {}).items() if name not in rules.counted}
        # Cores and memory of the workload are both settled by ours.
        made[side] = {**{name: amount for name, amount in others.items() if name not in ours["limits"]}, **ours[side]}
    return made


def _security(ours: Manifest, theirs: Manifest | None, harmless: Collection[str], rules: Rules) -> Manifest:
    said = copy.deepcopy(theirs or {})
    if rules.weaker_security:
        return {**ours, **said}
    return {**ours, **{key: value for key, value in said.items() if key in harmless}}


def _hardened(container: Manifest) -> Manifest:
    """Return it under "restricted" where it does not say otherwise itself."""
    security: Mapping[str, Any] = container.get("securityContext") or {}
    return {**copy.deepcopy(container), "securityContext": copy.deepcopy({**RESTRICTED, **security})}


def _union(*lists: Iterable[Manifest] | None) -> list[Manifest]:
    made: list[Manifest] = []
    for one in (item for items in lists for item in items or ()):
        if one not in made:
            made.append(copy.deepcopy(one))
    return made


def _refuse_host(base: Manifest, top: Manifest, rules: Rules) -> None:
    asked = [key for key in _HOST if base.get(key)]
    if base.get("hostUsers") and top.get("hostUsers") is False:
        asked.append("hostUsers")  # root of its own namespace would be root of the node
    if asked and not rules.weaker_security:
        raise CannotStart(f"{', '.join(asked)} of extra_pod_config would weaken the security of servers")


def _refuse_same_names(base: Manifest, top: Manifest, others: list[Manifest]) -> None:
    pairs = (
        ("volume", base.get("volumes") or (), top["volumes"]),
        ("container", [*(base.get("initContainers") or ()), *others], top["containers"]),
    )
    for what, theirs, ours in pairs:
        if both := {one["name"] for one in theirs} & {one["name"] for one in ours}:
            raise CannotStart(f"a configured {what} has a name of the platform's own: {', '.join(sorted(both))}")


def _at(mount: Manifest) -> str:
    return str(PurePosixPath(mount["mountPath"]))
