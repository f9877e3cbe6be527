"""The environment of a workload, and the text that sets it without showing a secret to `ps`."""

import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kqi_spawner.errors import CannotStart
from kqi_spawner.local import gpus
from kqi_spawner.local.images import Environment
from kqi_spawner.local.isolation import TOOL_PATH
from kqi_spawner.local.view import linked
from kqi_spawner.shell import export, exportable
from kqi_spawner.workload import Workload

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the engine knows and the workload does not."""

    image: Environment
    uid: int
    temporary: str  # a folder of its own
    linked_root: Path | None = None  # None: the workload sees its paths as they are written
    threads: int | None = None


def variables(workload: Workload, around: Surroundings) -> dict[str, str]:
    """Return all but the secrets: the workload's own, and what the engine adds."""
    given = dict(workload.environment)
    if around.linked_root is not None:
        given = _moved(given, workload, around.linked_root)
    user = _user_name(around.uid)
    defaults = {"HOME": around.temporary, "USER": user, "LOGNAME": user}
    if around.linked_root is not None:
        defaults["TMPDIR"] = around.temporary
    if around.threads is not None:
        defaults |= dict.fromkeys(_THREADS, str(around.threads))
    root = linked("/kqi", around.linked_root) if around.linked_root else "/kqi"
    # A person's own additions first, the platform's tools last.
    own = around.image.own((defaults | given)["HOME"])
    places = [f"{own}/bin"] if own else []
    places += [str(around.image.python.parent), given.get("PATH") or TOOL_PATH, f"{root}/tools/bin"]
    if own:
        defaults["JUPYTER_PATH"] = f"{own}/share/jupyter"
    return (
        defaults
        | given
        | gpus.variables(tuple(gpu.index for gpu in workload.resources.gpus))
        | {"KQI_ROOT": root, "PATH": ":".join(places), "VIRTUAL_ENV": own or str(around.image.folder)}
    )


def check(workload: Workload) -> None:
    """Raise `CannotStart` for a variable that no process can be given, or that could be seen by others on its way."""
    for name, value in workload.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise CannotStart(f"no variable can be called {name!r}, or its value holds a NUL")
    for name, secret in workload.secrets.items():
        if not exportable(name) or "\0" in secret.reveal():
            raise CannotStart(f"a secret cannot be called {name!r} (letters, digits and '_'), or its value holds a NUL")
    if not workload.command or any("\0" in word for word in workload.command) or "=" in workload.command[0]:
        raise CannotStart("the command is empty, or its first word holds a '=', or it holds a NUL")


def exports(values: Mapping[str, str], workload: Workload) -> list[str]:
    """Return the shell lines that export the secrets, and every variable that a shell does not change."""
    lines = [export(name, value) for name, value in sorted(values.items()) if exportable(name)]
    return lines + [export(name, secret.reveal()) for name, secret in sorted(workload.secrets.items())]


def env_words(values: Mapping[str, str], workload: Workload) -> list[str]:
    """Return `NAME=value` for `env`: the variables that a shell would not hand on. Never a secret."""
    return [
        f"{name}={value}"
        for name, value in sorted(values.items())
        if not exportable(name) and name not in workload.secrets
    ]


def _moved(given: Mapping[str, str], workload: Workload, root: Path) -> dict[str, str]:
    """Values that are a path of a mount say where it really is."""
    targets = [
        "/kqi",
        *(mount.target for mount in workload.mounts),
        *(scratch.target for scratch in workload.scratches),
    ]
    return {name: linked(value, root) if _is_below(value, targets) else value for name, value in given.items()}


def _is_below(value: str, targets: Iterable[str]) -> bool:
    return value.startswith("/") and any(PurePosixPath(value).is_relative_to(target) for target in targets)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
