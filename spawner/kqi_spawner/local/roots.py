"""The view of a workload as texts for bubblewrap, for `unshare` and for links. Pure."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kqi_spawner.local.view import PRIVATE, Bind, Place, View, linked, run_folders
from kqi_spawner.shell import assign, function, words
from kqi_spawner.workload import Access, Workload

_DEV_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What must be there for mounts to be put on: folders, empty files and links, all as paths of the workload."""

    folders: tuple[str, ...]
    files: tuple[str, ...]
    links: tuple[tuple[str, str], ...]  # (target, to)

    @property
    def name(self) -> str:
        """What every workload has that needs the same: mounts are each one's own, what they are put on is not."""
        return hashlib.sha256(repr(self).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class RootPlan:
    """What `root.sh` reads: shell functions, and what `mount -a` puts up in one go; and what is there before."""

    functions: str
    fstab: str
    skeleton: Skeleton


def bubblewrap_arguments(view: View, place: Place) -> list[str]:
    """Return the arguments of bubblewrap that put the view up."""
    words_: list[str] = []
    for path in view.shown:
        words_ += ["--ro-bind", path, path]
    for target, to in view.symlinks:
        words_ += ["--symlink", to, target]
    words_ += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--ro-bind", "/sys", "/sys"]  # noqa: S108
    for device in view.devices:
        words_ += ["--dev-bind-try", f"/dev/{device}", f"/dev/{device}"]
    for path in ("/home", "/root", "/kqi"):
        words_ += ["--dir", path]
    for path in run_folders():
        words_ += ["--ro-bind-try", path, path]
    for path in PRIVATE:
        words_ += ["--bind", str(place.folder / "tmp"), path]
    for path in view.hidden:
        words_ += ["--tmpfs", path]
    words_ += [word for path in view.hidden_files for word in ("--ro-bind", os.devnull, path)]
    for bind in view.tools:
        words_ += ["--ro-bind-try", str(bind.source), bind.target]
    for bind in view.binds:
        words_ += [_bubblewrap_option(bind), str(bind.source), bind.target]
    return words_


def root_plan(view: View, place: Place, skeletons: Path, groups: Iterable[Path]) -> RootPlan:
    """Return what `root.sh` needs to put the view up on a skeleton, in the control groups of the workload."""
    folders = ["/proc", "/dev/pts", "/dev/shm", "/sys", "/tmp", "/home", "/root", "/run", "/kqi"]  # noqa: S108
    folders += [*view.shown, *run_folders()]
    folders += [bind.target for bind in view.binds if bind.source.is_dir() and not _below_another(bind.target, view)]
    folders += [bind.target for bind in view.tools if f"/{PurePosixPath(bind.target).parts[1]}" not in view.shown]
    devices = [f"/dev/{name}" for name in view.devices]
    skeleton = Skeleton(
        folders=(*folders, *(path for path in devices if Path(path).is_dir())),
        files=tuple(path for path in devices if not Path(path).is_dir()),
        links=(*view.symlinks, *_DEV_LINKS),
    )
    new = skeletons / skeleton.name
    files = [bind for bind in view.binds if not bind.source.is_dir()]
    functions = [
        assign("new", new),
        function("attach", attach_lines(groups, "$$")),
        function("files", [line for bind in files for line in _file_lines(bind, new)]),
    ]
    return RootPlan("\n".join(functions) + "\n", "".join(_fstab(view, place, new, devices)), skeleton)


def attach_lines(groups: Iterable[Path], process: str) -> list[str]:
    """Return the lines that put a process into the groups; `0` is the one that writes."""
    return [f"echo {process} >{words([group / 'cgroup.procs'])}" for group in groups]


def linked_links(workload: Workload, binds: Iterable[Bind], root: Path) -> list[tuple[str, str]]:
    """Return (where, to) for the links of the workload when links stand in for mounts."""
    mounts = [bind.target for bind in binds]
    found = []
    for link in workload.links:
        here = PurePosixPath(os.path.normpath(link.target))
        to = link.to
        # A folder that is itself a link has other neighbours, so a relative text would lead astray.
        if any(here.is_relative_to(mount) for mount in mounts) and not os.path.isabs(to):
            to = os.path.normpath(here.parent / to)
        found.append((linked(str(here), root), linked(to, root) if os.path.isabs(to) else to))
    return found


def _bubblewrap_option(bind: Bind) -> str:
    return "--bind" if bind.access is Access.READ_WRITE else "--ro-bind"


def _below_another(target: str, view: View) -> bool:
    return any(target != bind.target and PurePosixPath(target).is_relative_to(bind.target) for bind in view.binds)


def _fstab(view: View, place: Place, new: Path, devices: Iterable[str]) -> list[str]:
    lines = [_entry(new, str(new), "none", "bind")]
    lines += [_entry(path, f"{new}{path}", "none", "rbind,ro") for path in (*view.shown, "/sys", *run_folders())]
    lines += [_entry(path, f"{new}{path}", "none", "bind") for path in devices]
    lines.append(_entry("proc", f"{new}/proc", "proc", "nosuid,nodev,noexec"))
    lines.append(_entry("devpts", f"{new}/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"))
    lines.append(_entry("tmpfs", f"{new}/dev/shm", "tmpfs", "nosuid,nodev,mode=1777"))  # noqa: S108
    private = place.folder / "tmp"
    lines += [_entry(private, f"{new}{path}", "none", "bind,X-mount.mkdir") for path in PRIVATE]
    lines += [_entry("tmpfs", f"{new}{path}", "tmpfs", "mode=0755,size=1m") for path in view.hidden]
    lines += [_entry(os.devnull, f"{new}{path}", "none", "bind") for path in view.hidden_files]
    lines += [_entry(bind.source, f"{new}{bind.target}", "none", "rbind,ro,X-mount.mkdir") for bind in view.tools]
    for bind in view.binds:
        if bind.source.is_dir():
            # A read-only one is not recursive: what is mounted below it would stay writable.
            how = "rbind" if bind.access is Access.READ_WRITE else "bind,ro"
            lines.append(_entry(bind.source, f"{new}{bind.target}", "none", f"{how},X-mount.mkdir"))
    return lines


def _file_lines(bind: Bind, new: Path) -> list[str]:
    target = f"{new}{bind.target}"
    how = "bind" if bind.access is Access.READ_WRITE else "bind,ro"
    return [
        words(["mkdir", "-p", os.path.dirname(target)]),
        f"{{ {words(['[', '-e', target, ']'])} || {words(['touch', target])}; }}",
        words(["mount", "-o", how, bind.source, target]),
    ]


def _entry(source: object, target: object, kind: str, options: str) -> str:
    return f"{_escaped(source)} {_escaped(target)} {kind} {options} 0 0\n"


def _escaped(path: object) -> str:
    table = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134", "#": "\\043"}
    return "".join(table.get(letter, letter) for letter in str(path))
