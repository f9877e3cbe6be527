"""What Job and pod mean together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kqi_spawner.kubernetes.observe import (
    SLOW_S,
    SeenJob,
    SeenPod,
    gives_up_at,
    last_complaint,
    seen_pod,
    slow_at,
    status,
)
from kqi_spawner.status import Phase, Reason, Waiting

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = SeenJob(uid="j", version=1, created_at=NOW, log="l", stopped=False, suspended=False, failed="")
POD = SeenPod(uid="p", version=1, name="n", created_at=NOW, stopped=False, kept=False, log="", ending=False, over=False)


def seen(job: SeenJob | None, pod: SeenPod | None, after_s: float = 0) -> tuple[Phase, Any]:
    found = status(job, pod, patience_s=60, now=NOW + timedelta(seconds=after_s))
    return found.phase, found.waiting or found.reason


@pytest.mark.parametrize(
    ("job", "pod", "means"),
    [
        (JOB, None, (Phase.PENDING, None)),
        # Whoever removed the pod: what it came to is known.
        (replace(JOB, completed_at=NOW), None, (Phase.EXITED, None)),
        (replace(JOB, refused="exceeded quota: nothing", refused_at=NOW), None, (Phase.PENDING, Waiting.SHARE)),
        (replace(JOB, refused="maximum memory", refused_at=NOW), None, (Phase.PENDING, Waiting.FAULT)),
        (JOB, POD, (Phase.PENDING, None)),
        (JOB, replace(POD, crowded=True), (Phase.PENDING, Waiting.ROOM)),
        (JOB, replace(POD, placed=True), (Phase.PENDING, Waiting.PREPARATION)),
        (JOB, replace(POD, placed=True, furnished=True), (Phase.PENDING, Waiting.IMAGE)),
        (JOB, replace(POD, placed=True, waiting="ErrImagePull", failing_at=NOW), (Phase.PENDING, Waiting.FAULT)),
        (JOB, replace(POD, placed=True, waiting="InvalidImageName"), (Phase.EXITED, Reason.CANNOT_START)),
        (JOB, replace(POD, started_at=NOW), (Phase.RUNNING, None)),
        # Its helpers may still be at work: the workload is over.
        (JOB, replace(POD, started_at=NOW, exit_code=3), (Phase.EXITED, None)),
        (JOB, replace(POD, crowded=True, ending=True, stopped=True), (Phase.EXITED, Reason.STOPPED)),
        (JOB, replace(POD, placed=True, ending=True, stopped=True), (Phase.PENDING, Waiting.PREPARATION)),
        (JOB, replace(POD, over=True, reason="Evicted"), (Phase.EXITED, Reason.LOST)),
    ],
)
def test_what_they_mean(job: SeenJob, pod: SeenPod | None, means: tuple[Phase, Any]) -> None:
    assert seen(job, pod) == means


def test_a_share_is_waited_for_without_end_a_refusal_is_not() -> None:
    used_up = replace(JOB, refused="exceeded quota: nothing", refused_at=NOW)
    assert seen(used_up, None, 10**6) == (Phase.PENDING, Waiting.SHARE)
    assert seen(replace(used_up, refused="maximum memory"), None, 61) == (Phase.EXITED, Reason.CANNOT_START)


def test_patience_with_an_image_counts_from_its_first_failure_not_from_the_wait_for_room() -> None:
    late = NOW + timedelta(hours=3)
    waited = replace(POD, placed=True, waiting="ErrImagePull", failing_at=late)
    assert gives_up_at(waited, 60) == late + timedelta(seconds=60)
    assert gives_up_at(replace(waited, waiting="ContainerCreating"), 60) is None


def test_a_pod_that_does_not_begin_is_asked_about_from_time_to_time() -> None:
    placed = replace(POD, placed=True, placed_at=NOW, waiting="ContainerCreating")
    assert slow_at(placed) == NOW + timedelta(seconds=SLOW_S)
    asked = replace(placed, asked_at=NOW + timedelta(hours=1), hindered="MountVolume.SetUp failed: no route to host")
    assert slow_at(asked) == NOW + timedelta(hours=1, seconds=SLOW_S)
    assert status(JOB, asked, patience_s=60, now=NOW).message == "MountVolume.SetUp failed: no route to host"
    for other in (POD, replace(placed, started_at=NOW), replace(placed, ending=True), replace(placed, over=True)):
        assert slow_at(other) is None
    said = [{"lastTimestamp": f"2026-01-01T00:00:0{number}Z", "message": str(number)} for number in (1, 3, 2)]
    assert (last_complaint(said), last_complaint([])) == ("3", "")


def test_what_the_apiserver_says_of_a_pod_that_fits_nowhere() -> None:
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    meta = {"uid": "p", "resourceVersion": "7", "name": "n", "creationTimestamp": "2026-01-01T12:00:00Z"}
    found = seen_pod({"metadata": meta, "spec": {}, "status": {"phase": "Pending", "conditions": [told]}})
    assert found.crowded and not found.placed and found.message == "0/2 nodes are available"
