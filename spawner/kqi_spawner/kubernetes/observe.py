"""What Job and pod say of a workload. Pure: small records in, a status out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kqi_spawner.kubernetes import labels
from kqi_spawner.kubernetes.manifest import MAIN
from kqi_spawner.status import Phase, Reason, WorkloadStatus

# Words of the kubelet for an image or a container that will hardly come to be.
_CANNOT = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
_CANNOT |= {"CreateContainerError", "RunContainerError"}
_NEVER = {"InvalidImageName", "ErrImageNeverPull"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenJob:
    """What is kept of a Job; everything else of it is thrown away when it comes in."""

    uid: str
    version: int  # grows with every change
    created_at: datetime
    log: str  # where in the store its output is
    stopped: bool
    suspended: bool  # the controller has taken notice, and makes no pod any more
    failed: str  # why, where it has failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPod:
    """What is kept of a pod."""

    uid: str
    version: int
    name: str
    created_at: datetime
    stopped: bool
    kept: bool  # until we have read its end
    ending: bool
    over: bool
    node: str = ""
    address: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""  # of the end, in the words of the kubelet
    waiting: str = ""  # why the container is not there yet
    message: str = ""


def seen_job(found: dict[str, Any]) -> SeenJob:
    meta = found["metadata"]
    conditions = {
        one["type"]: one for one in found.get("status", {}).get("conditions") or () if one["status"] == "True"
    }
    failed = conditions.get("Failed")
    return SeenJob(
        uid=meta["uid"],
        version=int(meta["resourceVersion"]),
        created_at=_moment(meta["creationTimestamp"]),
        log=meta.get("annotations", {}).get(labels.LOG, ""),
        stopped=labels.STOPPED in meta.get("annotations", {}),
        suspended="Suspended" in conditions,
        failed=failed.get("message") or failed.get("reason", "failed") if failed else "",
    )


def seen_pod(found: dict[str, Any]) -> SeenPod:
    meta, status = found["metadata"], found.get("status", {})
    main: dict[str, Any] = next((one for one in status.get("containerStatuses") or () if one["name"] == MAIN), {})
    state = main.get("state", {})
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    running = state.get("running") or {}
    begun = (ended or running).get("startedAt")
    over = status.get("phase") in {"Succeeded", "Failed"}
    return SeenPod(
        uid=meta["uid"],
        version=int(meta["resourceVersion"]),
        name=meta["name"],
        created_at=_moment(meta["creationTimestamp"]),
        stopped=labels.STOPPED in meta.get("annotations", {}),
        kept=labels.KEPT in (meta.get("finalizers") or ()),
        ending="deletionTimestamp" in meta,
        over=over,
        node=found.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        started_at=_moment(begun) if begun else None,
        finished_at=_moment(ended["finishedAt"]) if ended and ended.get("finishedAt") else None,
        exit_code=ended["exitCode"] if ended else None,
        reason=status.get("reason") or (ended or {}).get("reason", ""),
        waiting=waiting.get("reason", ""),
        message=_message(status, ended, waiting),
    )


def status(job: SeenJob | None, pod: SeenPod | None, *, patience_s: float, now: datetime) -> WorkloadStatus:
    """Return what the two mean together. A workload without a Job (a notebook) is its pod alone."""
    if pod is not None:
        return _of_pod(pod, job, patience_s, now)
    if job is None:
        return WorkloadStatus(phase=Phase.ABSENT)
    if job.stopped and job.suspended:
        return WorkloadStatus(phase=Phase.EXITED, reason=Reason.STOPPED, finished_at=now)
    if job.failed:
        return WorkloadStatus(phase=Phase.LOST, reason=Reason.LOST, message=job.failed)
    return WorkloadStatus(phase=Phase.PENDING)


def gives_up_at(pod: SeenPod, patience_s: float) -> datetime | None:
    """Return when a pod that cannot come to be is given up; None while nothing is wrong with it."""
    if pod.over or pod.started_at is not None or pod.waiting not in _CANNOT:
        return None
    return pod.created_at + timedelta(seconds=0 if pod.waiting in _NEVER else patience_s)


def _of_pod(pod: SeenPod, job: SeenJob | None, patience_s: float, now: datetime) -> WorkloadStatus:
    stopped = pod.stopped or (job is not None and job.stopped)
    if pod.exit_code is not None and (pod.over or pod.ending):
        return WorkloadStatus(
            phase=Phase.EXITED,
            started_at=pod.started_at,
            finished_at=pod.finished_at,
            exit_code=pod.exit_code,
            reason=Reason.STOPPED if stopped else _reason(pod),
            message=pod.message,
        )
    if pod.over:
        # Evicted, or ended before its container began.
        reason = Reason.STOPPED if stopped else _reason(pod) or Reason.CANNOT_START
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=reason, message=pod.message or pod.reason)
    if pod.started_at is not None:
        return WorkloadStatus(phase=Phase.RUNNING, started_at=pod.started_at)
    deadline = gives_up_at(pod, patience_s)
    if deadline is not None and deadline <= now:
        message = f"{pod.waiting}: {pod.message}" if pod.message else pod.waiting
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=Reason.CANNOT_START, message=message)
    return WorkloadStatus(phase=Phase.PENDING, message=pod.message or pod.waiting)


def _reason(pod: SeenPod) -> Reason | None:
    if pod.reason == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if pod.reason in {"Evicted", "Preempting", "NodeLost", "Terminated", "NodeShutdown"}:
        return Reason.LOST
    return None


def _message(status: dict[str, Any], ended: dict[str, Any] | None, waiting: dict[str, Any]) -> str:
    if ended and ended.get("message"):
        return str(ended["message"])
    if waiting.get("message"):
        return str(waiting["message"])
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message", ""))
    return str(status.get("message", ""))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
