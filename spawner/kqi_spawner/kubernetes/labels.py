"""Labels and annotations by which our objects are known."""

import hashlib
import re
from typing import Any

from kqi_spawner.names import WorkloadName, checked_name
from kqi_spawner.workload import Workload

PLATFORM = "kqi.io/platform"
WORKLOAD = "kqi.io/workload"
# Whose it is: labels to choose by, annotations with the names word for word.
PERSON, TENANT = "kqi.io/person", "kqi.io/tenant"
# On a Job: where in the store its output is.
LOG = "kqi.io/log"
# On a Job or pod that somebody asked to end.
STOPPED = "kqi.io/stopped"
# The field by which events of Jobs that get no pod are known.
NO_POD = "involvedObject.kind=Job,reason=FailedCreate"
# Keeps the account of a pod that is being ended until it was read.
KEPT = "kqi.io/kept"
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def ours(platform: str, name: WorkloadName) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "kqi", PLATFORM: platform, WORKLOAD: name}


def whose(workload: Workload) -> dict[str, str]:
    """Return whose a workload is, word for word."""
    return {key: name for key, name in ((PERSON, workload.person), (TENANT, workload.tenant)) if name}


def values(names: dict[str, str]) -> dict[str, str]:
    """Return names as values of labels: as they are where they can be, else by a part of their hash."""
    return {
        key: name if _VALUE.fullmatch(name) else f"x-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        for key, name in names.items()
    }


def selector(platform: str, name: WorkloadName | None = None) -> str:
    """Return what chooses all of our objects, or those of one workload."""
    return f"{PLATFORM}={platform},{WORKLOAD}" + (f"={name}" if name else "")


def name_of(found: dict[str, Any]) -> WorkloadName | None:
    """Return the workload that an object belongs to; None for one whose label is not a name."""
    try:
        return checked_name(found["metadata"]["labels"][WORKLOAD])
    except (KeyError, ValueError):
        return None
