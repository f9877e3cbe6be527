"""What Job and pod say of a workload. Pure: small records in, a status out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kqi_spawner.kubernetes import labels
from kqi_spawner.kubernetes.manifest import MAIN
from kqi_spawner.status import Phase, Reason, Waiting, WorkloadStatus

# Words of the kubelet for an image or a container that will hardly come to be.
_CANNOT = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
_CANNOT |= {"CreateContainerError", "RunContainerError"}
_LOST = {"Evicted", "Preempting", "NodeLost", "Terminated", "NodeShutdown"}
# Folders, network and image of a pod are there sooner, where nothing is wrong.
SLOW_S = 60.0
_NEVER = {"InvalidImageName", "ErrImageNeverPull"}
# The apiserver's words for a namespace that has used up what it may have.
USED_UP = "exceeded quota"


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
    completed_at: datetime | None = None  # when it was through without a fault
    refused: str = ""  # why the controller could make no pod so far
    refused_at: datetime | None = None  # when that was first seen


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPod:
    """What is kept of a pod."""

    uid: str
    version: int
    name: str
    created_at: datetime
    stopped: bool
    kept: bool  # until we have read its end
    log: str  # where in the store its output is; empty where a Job says it
    ending: bool
    over: bool
    node: str = ""
    address: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""  # of the end, in the words of the kubelet
    waiting: str = ""  # why the container is not there yet
    failing_at: datetime | None = None  # when it was first seen to be something that may never come to be
    placed: bool = False  # on a node
    placed_at: datetime | None = None
    crowded: bool = False  # the scheduler found no node for it, or something holds it back from being scheduled
    furnished: bool = False  # its folders and its network are there
    message: str = ""
    disrupted: str = ""  # who ended it before its time: an eviction, a taint, a pod of more importance
    hindered: str = ""  # what the node complained of last while nothing came of it
    asked_at: datetime | None = None  # when we asked for that last

    @property
    def alone(self) -> bool:
        """Whether it is a server, which no Job keeps."""
        return bool(self.log)


def seen_job(found: dict[str, Any]) -> SeenJob:
    meta = found["metadata"]
    conditions = {
        one["type"]: one for one in found.get("status", {}).get("conditions") or () if one["status"] == "True"
    }
    failed, complete = conditions.get("Failed"), conditions.get("Complete")
    return SeenJob(
        uid=meta["uid"],
        version=int(meta["resourceVersion"]),
        created_at=_moment(meta["creationTimestamp"]),
        log=meta.get("annotations", {}).get(labels.LOG, ""),
        stopped=labels.STOPPED in meta.get("annotations", {}),
        suspended="Suspended" in conditions,
        failed=failed.get("message") or failed.get("reason", "failed") if failed else "",
        completed_at=_moment(complete["lastTransitionTime"]) if complete else None,
    )


def seen_pod(found: dict[str, Any]) -> SeenPod:
    meta, status = found["metadata"], found.get("status", {})
    main: dict[str, Any] = next((one for one in status.get("containerStatuses") or () if one["name"] == MAIN), {})
    state = main.get("state", {})
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    running = state.get("running") or {}
    begun = (ended or running).get("startedAt")
    over = status.get("phase") in {"Succeeded", "Failed"}
    conditions = {one["type"]: one for one in status.get("conditions") or () if one["status"] == "True"}
    disruption = conditions.get("DisruptionTarget", {})
    return SeenPod(
        uid=meta["uid"],
        version=int(meta["resourceVersion"]),
        name=meta["name"],
        created_at=_moment(meta["creationTimestamp"]),
        stopped=labels.STOPPED in meta.get("annotations", {}),
        kept=labels.KEPT in (meta.get("finalizers") or ()),
        log=meta.get("annotations", {}).get(labels.LOG, ""),
        ending="deletionTimestamp" in meta,
        over=over,
        node=found.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        started_at=_moment(begun) if begun else None,
        finished_at=_moment(ended["finishedAt"]) if ended and ended.get("finishedAt") else None,
        exit_code=ended["exitCode"] if ended else None,
        reason=status.get("reason") or (ended or {}).get("reason", ""),
        waiting=waiting.get("reason", ""),
        placed=bool(found.get("spec", {}).get("nodeName")),
        placed_at=_moment(conditions["PodScheduled"]["lastTransitionTime"]) if "PodScheduled" in conditions else None,
        crowded=any(
            one["type"] == "PodScheduled" and one["status"] == "False" for one in status.get("conditions") or ()
        ),
        furnished="PodReadyToStartContainers" in conditions,
        message=_message(status, ended, waiting),
        disrupted=disruption.get("message") or disruption.get("reason", ""),
    )


def status(job: SeenJob | None, pod: SeenPod | None, *, patience_s: float, now: datetime) -> WorkloadStatus:
    """Return what the two mean together. A server has no Job: it is its pod alone."""
    if pod is not None:
        return _of_pod(pod, job, patience_s, now)
    if job is None:
        return WorkloadStatus(phase=Phase.ABSENT)
    if job.completed_at is not None:
        return WorkloadStatus(phase=Phase.EXITED, exit_code=0, finished_at=job.completed_at)
    if job.stopped and job.suspended:
        return WorkloadStatus(phase=Phase.EXITED, reason=Reason.STOPPED, finished_at=now)
    if job.failed:
        return WorkloadStatus(phase=Phase.LOST, reason=Reason.LOST, message=job.failed)
    if USED_UP in job.refused:
        return WorkloadStatus(phase=Phase.PENDING, waiting=Waiting.SHARE, message=job.refused)
    deadline = job_given_up_at(job, patience_s)
    if deadline is not None and deadline <= now:
        reason = Reason.CANNOT_START
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=reason, message=job.refused)
    return WorkloadStatus(phase=Phase.PENDING, waiting=Waiting.FAULT if job.refused else None, message=job.refused)


def refusal(event: dict[str, Any]) -> tuple[str, str]:
    """Return the name of the Job that an event is about, and why it got no pod."""
    return event["involvedObject"].get("name", ""), str(event.get("message", ""))


def gives_up_at(pod: SeenPod, patience_s: float) -> datetime | None:
    """Return when a pod that cannot come to be is given up; None while nothing is wrong with it."""
    if not failing(pod):
        return None
    return (pod.failing_at or pod.created_at) + timedelta(seconds=0 if pod.waiting in _NEVER else patience_s)


def job_given_up_at(job: SeenJob, patience_s: float) -> datetime | None:
    """Return when a Job that gets no pod is given up; None for one that merely has to wait for its share."""
    if not job.refused or USED_UP in job.refused:
        return None
    return (job.refused_at or job.created_at) + timedelta(seconds=patience_s)


def slow_at(pod: SeenPod) -> datetime | None:
    """Return when it is worth asking, again, why a pod on a node has not begun; None for any other pod."""
    if pod.placed_at is None or pod.over or pod.ending or pod.started_at is not None or failing(pod):
        return None
    return (pod.asked_at or pod.placed_at) + timedelta(seconds=SLOW_S)


def last_complaint(events: Iterable[dict[str, Any]]) -> str:
    """Return what the newest of these events says."""
    seen = sorted(events, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
    return str(seen[-1].get("message", "")) if seen else ""


def failing(pod: SeenPod) -> bool:
    return not pod.over and pod.started_at is None and pod.waiting in _CANNOT


def _of_pod(pod: SeenPod, job: SeenJob | None, patience_s: float, now: datetime) -> WorkloadStatus:
    stopped = pod.stopped or (job is not None and job.stopped)
    if pod.exit_code is not None:
        return WorkloadStatus(
            phase=Phase.EXITED,
            started_at=pod.started_at,
            finished_at=pod.finished_at,
            exit_code=pod.exit_code,
            reason=Reason.STOPPED if stopped else _reason(pod),
            message=pod.message or pod.disrupted,
        )
    if pod.over:
        # Evicted, or ended before its container began.
        reason = Reason.STOPPED if stopped else _reason(pod) or Reason.CANNOT_START
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=reason, message=pod.message or pod.reason)
    if pod.ending and not pod.placed:
        # No node is given to a pod that is being removed: its end needs nobody's word.
        reason = Reason.STOPPED if stopped else Reason.LOST
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=reason)
    if pod.started_at is not None:
        return WorkloadStatus(phase=Phase.RUNNING, started_at=pod.started_at)
    deadline = gives_up_at(pod, patience_s)
    if deadline is not None and deadline <= now:
        message = f"{pod.waiting}: {pod.message}" if pod.message else pod.waiting
        return WorkloadStatus(phase=Phase.EXITED, finished_at=now, reason=Reason.CANNOT_START, message=message)
    return WorkloadStatus(phase=Phase.PENDING, waiting=_waiting(pod), message=pod.hindered or pod.message)


def _waiting(pod: SeenPod) -> Waiting | None:
    if not pod.placed:
        return Waiting.ROOM if pod.crowded else None
    if failing(pod):
        return Waiting.FAULT
    return Waiting.IMAGE if pod.furnished else Waiting.PREPARATION


def _reason(pod: SeenPod) -> Reason | None:
    if pod.reason == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if (pod.disrupted and pod.exit_code != 0) or pod.reason in _LOST:
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
