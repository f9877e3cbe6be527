"""Labels and annotations by which our objects are known."""

from typing import Any

from kqi_spawner.names import WorkloadName, checked_name

PLATFORM = "kqi.io/platform"
WORKLOAD = "kqi.io/workload"
# On a Job: where in the store its output is.
LOG = "kqi.io/log"
# On a Job or pod that somebody asked to end.
STOPPED = "kqi.io/stopped"
# The field by which events of Jobs that get no pod are known.
NO_POD = "involvedObject.kind=Job,reason=FailedCreate"
# Keeps the account of a pod that is being ended until it was read.
KEPT = "kqi.io/kept"


def ours(platform: str, name: WorkloadName) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "kqi", PLATFORM: platform, WORKLOAD: name}


def selector(platform: str) -> str:
    return f"{PLATFORM}={platform},{WORKLOAD}"


def name_of(found: dict[str, Any]) -> WorkloadName | None:
    """Return the workload that an object belongs to; None for one whose label is not a name."""
    try:
        return checked_name(found["metadata"]["labels"][WORKLOAD])
    except (KeyError, ValueError):
        return None
