"""Turns a workload into the files that its supervisor reads. Pure but for look-ups of what exists."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shutil import which

from kqi_spawner.errors import CannotStart
from kqi_spawner.local import environment, roots, view
from kqi_spawner.local.images import Environment
from kqi_spawner.local.isolation import (
    TOOL_PATH,
    Account,
    Isolation,
    becoming_words,
    bubblewrap_words,
    unshare_words,
)
from kqi_spawner.local.limits import Limit
from kqi_spawner.shell import INSIDE, assign, function, link_lines, words
from kqi_spawner.workload import Access, Workload

SHIM = Path(str(resources.files("kqi_spawner.local").joinpath("shim.sh")))
_ROOT = SHIM.with_name("root.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the engine decided for this workload."""

    isolation: Isolation
    account: Account
    image: Environment
    limit: Limit
    place: view.Place
    skeletons: Path  # what roots are put up on, one folder for each that was ever needed
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`script` holds secrets: it is written for the owner alone, and removed once the workload has begun."""

    files: Mapping[str, str]
    script: str
    skeleton: roots.Skeleton | None  # what the new root is put up on, with `unshare`


def plan(workload: Workload, of: Circumstances) -> Plan:
    """Return the files. Raises `CannotStart` for what cannot be shown on this engine."""
    environment.check(workload)
    view.checked_sources(workload, of.place)
    links_root = of.place.folder / "view" if of.isolation is Isolation.LINKS else None
    files, skeleton = {}, None
    if links_root is not None:
        enter = [*of.account.dropping, "--pdeathsig", "KILL", "/bin/sh", "-s"]
        links = _links(workload, of.place, links_root)
    else:
        seen = view.view(workload, of.place)
        links = list(seen.user_links)
        if of.isolation is Isolation.BUBBLEWRAP:
            enter = [*bubblewrap_words(of.account), *roots.bubblewrap_arguments(seen, of.place), "/bin/sh", "-s"]
        else:
            enter = ["setpriv", "--pdeathsig", "KILL", *unshare_words(of.account), "/bin/sh", str(_ROOT)]
            root = roots.root_plan(seen, of.place, of.skeletons, of.limit.groups)
            become = function("become", [words(["exec", *becoming_words(of.account), "/bin/sh", "-s"])])
            files = {"root-plan.sh": f"{root.functions}{become}\n", "fstab": root.fstab}
            skeleton = root.skeleton
    files["plan.sh"] = _shim_plan(workload, of, enter, attach=() if "fstab" in files else of.limit.groups)
    return Plan(files=files, script=_script(workload, of, links, links_root), skeleton=skeleton)


def linked_mounts(workload: Workload, place: view.Place) -> list[tuple[str, str]]:
    """Return (target, source) of what stands alone, outside of every other mount, when links stand in for mounts."""
    binds = view.own_binds(workload, place)
    return [(bind.target, str(bind.source)) for bind in binds if _mount_around(bind, binds, place) is None]


def _links(workload: Workload, place: view.Place, root: Path) -> list[tuple[str, str]]:
    binds = view.own_binds(workload, place)
    links = roots.linked_links(workload, binds, root)
    for bind in binds:
        around = _mount_around(bind, binds, place)
        if around is None:
            continue
        if around.access is Access.READ_ONLY:
            raise CannotStart(f"{bind.target}: nothing can be shown inside of a read-only folder without namespaces")
        links.insert(0, (view.linked(bind.target, root), str(bind.source)))
    return links


def _mount_around(bind: view.Bind, binds: tuple[view.Bind, ...], place: view.Place) -> view.Bind | None:
    """The mount of the store that `bind` lies in. The workload's own scratch folders do not count."""
    for other in binds:
        inside = Path(bind.target).is_relative_to(other.target) and bind.target != other.target
        if inside and not other.source.is_relative_to(place.folder):
            return other
    return None


def _shim_plan(workload: Workload, of: Circumstances, enter: list[str], attach: Iterable[Path]) -> str:
    groups = of.limit.groups
    make = [words(["mkdir", "-p", *groups])] if groups else []
    make += [f"echo {words([text])} >{words([file])}" for file, text in of.limit.writes]
    make += [f"{{ echo {words([text])} >{words([file])}; }} 2>/dev/null || :" for file, text in of.limit.optional]
    lines = [
        assign("marker", of.marker),
        assign("log", (of.place.store / workload.log.text).absolute()),
        assign("run_folder", of.place.folder),
        assign("own_processes", "no" if of.isolation is Isolation.LINKS else "yes"),
        assign("groups", " ".join(str(group) for group in groups)),
        assign("oom_file", of.limit.oom_file or ""),
        function("make_groups", make),
        # With `unshare` the root script does it, while it mounts.
        function("attach", roots.attach_lines(attach, "0")),
        f"enter() {{\n  export KQI_WORKLOAD={of.marker}\n  exec {words(enter)}\n}}",
    ]
    return "\n".join(lines) + "\n"


def _script(workload: Workload, of: Circumstances, links: list[tuple[str, str]], links_root: Path | None) -> str:
    around = environment.Surroundings(
        image=of.image,
        uid=of.account.uid,
        temporary=str(of.place.folder / "tmp") if links_root else "/tmp",  # noqa: S108
        linked_root=links_root,
        threads=of.limit.threads,
    )
    values = environment.variables(workload, around)
    # Shells make their background jobs ignore the last two, `nohup` the first; a kernel is interrupted by SIGINT.
    env = [which("env", path=TOOL_PATH) or "/usr/bin/env", "--default-signal=HUP,INT,QUIT", "--"]
    workdir = workload.workdir
    if links_root is not None and _moves(workdir, workload):
        workdir = view.linked(workdir, links_root)
    lines = [
        *environment.exports(values, workload),
        assign("_kqi_own_processes", "no" if links_root else "yes"),
        assign("_kqi_workdir", workdir),
        assign("_kqi_data_kib", of.limit.data_kib or ""),
        assign("_kqi_layer", of.image.layer or ""),
        assign("_kqi_own", of.image.own(values["HOME"]) or ""),
        function("_kqi_links", link_lines(links)),
        words(["set", "--", *env, *environment.env_words(values, workload), *workload.command]),
        INSIDE.read_text(encoding="utf-8"),
    ]
    return "\n".join(lines)


def _moves(path: str, workload: Workload) -> bool:
    targets = [
        "/kqi",
        *(mount.target for mount in workload.mounts),
        *(scratch.target for scratch in workload.scratches),
    ]
    return any(Path(path).is_relative_to(target) for target in targets)
