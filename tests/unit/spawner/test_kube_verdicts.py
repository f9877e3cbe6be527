"""What a pod of KubeSpawner says, and what a person may ask of a list of profiles."""

from typing import Any

import pytest

from kqi_spawner.jupyterhub.kube_verdicts import BadOption, checked_options, exit_code, fault, words

PROFILES: list[dict[str, Any]] = [
    {
        "slug": "small",
        "profile_options": {
            "image": {
                "choices": {"plain": {}, "torch": {}},
                "unlisted_choice": {"enabled": True, "validation_regex": "^ok.*"},
            },
            "region": {"choices": {"here": {}}, "unlisted_choice": {"enabled": False}},
        },
    }
]


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = {"containerStatuses": [{"name": "notebook", "state": state}]} if state is not None else {}
    return {"metadata": {"uid": "1"}, "status": {"phase": phase, **containers, **status}}


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (pod("Pending"), None),
        (pod("Running", {"running": {}}), None),
        (pod("Running"), None),
        (pod("Running", {"terminated": {"exitCode": 137}}), 137),
        (pod("Succeeded", {"terminated": {"exitCode": 0}}), 0),
        (pod("Failed", reason="Evicted"), 1),
        (pod("Failed", {"running": {}}), 1),
        ({"metadata": {}}, None),
    ],
)
def test_how_a_server_ended(seen: dict[str, Any], code: int | None) -> None:
    assert exit_code(seen) == code


def text_of(first: dict[str, Any]) -> str:
    found = fault(pod("Pending", initContainerStatuses=[first]))
    assert found and not found.final
    return found.text


_PASSING = ("ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError")


@pytest.mark.parametrize(("reason", "final"), [*((one, False) for one in _PASSING), ("InvalidImageName", True)])
def test_what_keeps_a_server_from_starting(reason: str, final: bool) -> None:
    found = fault(pod("Pending", {"waiting": {"reason": reason, "message": "no such thing"}}))
    assert found and (found.text, found.final) == (f"{reason}: no such thing", final)


def test_nothing_keeps_one_that_comes_to_be() -> None:
    assert fault(pod("Pending", {"waiting": {"reason": "ContainerCreating"}})) is None
    assert fault(pod("Running", {"running": {}})) is None
    assert fault(pod("Pending")) is None


def test_an_eviction_ends_a_start_with_its_reason() -> None:
    found = fault(pod("Failed", reason="Evicted", message="low on memory"))
    assert found and found.final and found.text == "Evicted low on memory"


def test_a_container_that_comes_first_can_keep_it_too() -> None:
    first = {"name": "first", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
    assert text_of(first) == "CrashLoopBackOff: back-off 10s"
    # How it ended says more than that it will be tried again.
    assert text_of({**first, "lastState": {"terminated": {"exitCode": 3}}}).endswith("first ended with exit code 3")
    said = {"exitCode": 127, "message": "no such file"}
    assert text_of({**first, "lastState": {"terminated": said}}) == "CrashLoopBackOff: no such file"


def test_what_ended_before_the_server_and_will_be_tried_again_keeps_it_too() -> None:
    first = [{"name": "first", "state": {"terminated": {"exitCode": 3}}}]
    found = fault(pod("Pending", initContainerStatuses=first))
    assert found and (found.text, found.final) == ("first ended with exit code 3", False)
    done = [{"name": "first", "state": {"terminated": {"exitCode": 0}}}]
    assert fault(pod("Pending", initContainerStatuses=done)) is None


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (None, "the cluster has not seen it"),
        (pod("Pending"), "Pending"),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}), "ContainerCreating"),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Un", "message": "0/2"}]),
            "Un: 0/2",
        ),
    ],
)
def test_the_last_words_on_one_that_is_not_there_yet(seen: dict[str, Any] | None, said: str) -> None:
    assert words(seen) == said


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "large"},
        {"profile": ["small"]},
        {"profile": {"slug": "small"}},
        {"profile": "small", "image": "other"},
        {"profile": "small", "image": 7},
        {"profile": "small", "image": ["plain"]},
        {"profile": "small", "region--unlisted-choice": "there"},
        {"profile": "small", "image--unlisted-choice": "ok\n; evil"},
        {"profile": "small", "image--unlisted-choice": "ok{pod_name.__class__}"},
        {"profile": "small", "image--unlisted-choice": 7},
        ["profile"],
        "profile",
    ],
)
def test_an_option_that_there_is_not_is_refused_in_words(options: object) -> None:
    with pytest.raises(BadOption) as refused:
        checked_options(options, PROFILES)
    assert refused.value.status_code == 400 and refused.value.reason == "bad_option"


@pytest.mark.parametrize(
    "options",
    [
        {},
        None,
        {"garbage": 1},
        {"profile": "small", "image": "torch"},
        {"profile": "small", "image--unlisted-choice": "ok-1"},
    ],
)
def test_other_options_are_taken(options: object) -> None:
    checked_options(options, PROFILES)
