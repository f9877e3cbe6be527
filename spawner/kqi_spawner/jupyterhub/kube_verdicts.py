"""What a pod of KubeSpawner says of its server. Pure: a pod as the apiserver gives it in, a verdict out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jupyterhub.spawner import SpawnException

Pod = Mapping[str, Any]
SERVER = "notebook"
# Words of the kubelet for a container that does not come to be.
_FAULTS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
_AGAIN = "CrashLoopBackOff"
# No patience helps here.
_FINAL = {"InvalidImageName", "ErrImageNeverPull"}
_OVER = {"Succeeded", "Failed"}


class BadOption(SpawnException, ValueError):  # type: ignore[misc]
    """A person asked for something that there is not."""

    def __init__(self, message: str) -> None:
        SpawnException.__init__(self, message, reason="bad_option")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a start fails; `final` where another try will not mend it."""

    text: str
    final: bool


def exit_code(pod: Pod) -> int | None:
    """Return how the server ended, 1 where nobody knows; None while it lives."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        if container["name"] == SERVER and "terminated" in (container.get("state") or {}):
            return int(container["state"]["terminated"].get("exitCode", 1))
    # Evicted, or lost with its node: such a pod often has no word on its containers.
    return 1 if status.get("phase") in _OVER else None


def fault(pod: Pod) -> Fault | None:
    """Return what keeps a server from starting."""
    status = pod.get("status") or {}
    if status.get("phase") in _OVER:
        told = " ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
        return Fault(text=told or f"ended with exit code {exit_code(pod)}", final=True)
    for one in _containers(status):
        state = one.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = waiting.get("reason", "")
        if reason == _AGAIN:
            before = (one.get("lastState") or {}).get("terminated") or {}
            return Fault(text=_sentence(reason, _ending(one["name"], before) or waiting.get("message")), final=False)
        if reason in _FAULTS | _FINAL:
            return Fault(text=_sentence(reason, waiting.get("message")), final=reason in _FINAL)
        # Between two tries the kubelet says either this or CrashLoopBackOff.
        if ended.get("exitCode"):
            return Fault(text=_ending(one["name"], ended), final=False)
    return None


def words(pod: Pod | None) -> str:
    """Return what the cluster last said of a server that is not there yet."""
    status = (pod or {}).get("status") or {}
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return _sentence(one.get("reason", ""), one.get("message"))
    for one in _containers(status):
        if waiting := (one.get("state") or {}).get("waiting"):
            return _sentence(waiting.get("reason", ""), waiting.get("message"))
    return str(status.get("phase", "the cluster has not seen it"))


def checked_options(options: object, profiles: list[dict[str, Any]]) -> None:
    """Accept what a person may ask for by a list of profiles. Raises `BadOption`."""
    if not options:
        return
    if not isinstance(options, dict):
        raise BadOption("the options of a server are an object")
    wanted = options.get("profile")
    if not wanted:
        return
    profile = next((one for one in profiles if one["slug"] == wanted), None)
    if profile is None:
        raise BadOption(f"No such profile: {wanted!s:.60}. Options include: {', '.join(p['slug'] for p in profiles)}")
    for name, option in (profile.get("profile_options") or {}).items():
        _check_choice(name, option, options.get(name))
        _check_text(name, option.get("unlisted_choice") or {}, options.get(f"{name}--unlisted-choice"))


def _check_choice(name: str, option: Mapping[str, Any], choice: object) -> None:
    if choice and (not isinstance(choice, str) or choice not in (option.get("choices") or {})):
        known = ", ".join(option.get("choices") or {})
        raise BadOption(f"No such choice for {name}: {choice!s:.60}. Choices include: {known}")


def _check_text(name: str, unlisted: Mapping[str, Any], text: object) -> None:
    if not text:
        return
    if not unlisted.get("enabled"):
        raise BadOption(f"Received unlisted_choice for {name} without being enabled.")
    if not isinstance(text, str):
        raise BadOption(f"The choice for {name} is a text.")
    rule = unlisted.get("validation_regex")
    # As browsers read it, from the first character to the last.
    if rule and not re.fullmatch(rule, text):
        raise BadOption(f"Received unlisted_choice for {name} that failed validation regex.")
    # KubeSpawner formats it into values that it formats once more.
    if "{" in text or "}" in text:
        raise BadOption(f"The choice for {name} must not hold braces.")


def _sentence(reason: str, message: str | None) -> str:
    return f"{reason}: {message}" if message else reason


def _ending(name: str, ended: Mapping[str, Any]) -> str:
    """Return how a container ended; empty where nobody knows."""
    if "exitCode" not in ended:
        return ""
    return str(ended.get("message") or f"{name} ended with exit code {ended['exitCode']}").strip()


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or ()
