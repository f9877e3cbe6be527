"""What a workload sees of the machine, for each isolation. Pure but for look-ups of what exists."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kqi_spawner.errors import CannotStart
from kqi_spawner.workload import Access, Mount, StorePath, VolumePath, Workload

# Never shown as they are: made anew, private, or of no use inside.
_NOT_SHOWN = {"proc", "dev", "sys", "tmp", "home", "root", "run", "kqi", "boot", "media", "lost+found"}
# What of /run programs need, for names, drivers and cards.
_RUN = ("systemd/resolve", "resolvconf", "NetworkManager", "nscd", "nvidia-persistenced")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse")
_CARDS = ("nvidia*", "dri", "kfd", "dxg")


# Folders of the machine in whose place every workload has an empty one of its own.
PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    source: Path
    target: str
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that is shown, in the order in which it is put up."""

    shown: tuple[str, ...] = ()  # folders of the machine, read-only
    symlinks: tuple[
        tuple[str, str], ...
    ] = ()  # (target, to): of the machine's top level, and links outside of all mounts
    hidden: tuple[str, ...] = ()  # covered by an empty folder
    hidden_files: tuple[str, ...] = ()  # nothing can be read in them
    tools: tuple[Bind, ...] = ()  # the environment and what it was made from
    devices: tuple[str, ...] = ()  # of /dev
    binds: tuple[Bind, ...] = ()  # what the workload asked for: mounts and scratch folders, parents first
    user_links: tuple[tuple[str, str], ...] = ()  # made by the workload's own account inside of mounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the workload's files lie on the machine. `folder` is its own and is thrown away at the end."""

    folder: Path
    store: Path
    hidden: tuple[Path, ...] = ()
    tools: tuple[Path, ...] = field(default_factory=tuple)
    offered: Path | None = None  # where /kqi/tools leads
    volumes: Mapping[str, Path] = field(default_factory=dict)  # folders of the machine by the names of their volumes

    def root(self, source: StorePath | VolumePath) -> Path:
        """Return the folder that a source lies in. Raises `CannotStart` for a volume that is not known."""
        if isinstance(source, StorePath):
            return self.store.resolve()
        if source.volume not in self.volumes:
            raise CannotStart(f"no volume is called {source.volume!r}")
        return self.volumes[source.volume].resolve()


def checked_sources(workload: Workload, place: Place) -> None:
    """Raise `CannotStart` unless every source exists, without a symbolic link on the way to it."""
    for mount in workload.mounts:
        source = place.root(mount.source) / mount.source.text
        if not source.exists():
            raise CannotStart(f"{mount.target}: there is nothing at {mount.source}")
        # A link that a user planted could lead into the files of another one.
        if source.resolve() != Path(os.path.normpath(source)):
            raise CannotStart(f"{mount.target}: a symbolic link on the way to {mount.source}")
    targets = (
        [m.target for m in workload.mounts]
        + [s.target for s in workload.scratches]
        + [e.target for e in workload.links]
    )
    for target in targets:
        path = PurePosixPath(target)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or "\0" in target:
            raise CannotStart(f"not a place for a mount: {target!r}")


def own_binds(workload: Workload, place: Place) -> tuple[Bind, ...]:
    """Return mounts and scratch folders, parents first. Scratch folders are `place.folder/scratch/<n>`."""
    binds = [_bind(mount, place) for mount in workload.mounts]
    for number, scratch in enumerate(workload.scratches):
        folder = place.folder / "scratch" / str(number)
        binds.append(Bind(source=folder, target=_tidy(scratch.target), access=Access.READ_WRITE))
    return tuple(sorted(binds, key=lambda bind: len(PurePosixPath(bind.target).parts)))


def view(workload: Workload, place: Place) -> View:
    """Return what is shown where the engine builds a root of its own."""
    binds = own_binds(workload, place)
    top = [entry for entry in sorted(Path("/").iterdir()) if entry.name not in _NOT_SHOWN]
    shown = tuple(path for entry in top for path in _shown(entry, binds))
    symlinks = [(str(entry), os.readlink(entry)) for entry in top if entry.is_symlink()]
    inside: list[tuple[str, str]] = []
    outside: list[tuple[str, str]] = []
    for link in workload.links:
        target = _tidy(link.target)
        (inside if _holder(target, binds) else outside).append((target, link.to))
    if place.offered is not None:
        outside.append(("/kqi/tools", str(place.offered)))
    hidden = _reached(map(str, _outermost(place.hidden)), shown, PRIVATE)
    files = sorted({os.path.realpath(path) for path in place.hidden if os.path.isfile(path)})
    return View(
        shown=shown,
        symlinks=(*symlinks, *outside),
        hidden=hidden,
        hidden_files=_reached(files, shown, (*PRIVATE, *hidden)),
        tools=tuple(Bind(source=path, target=str(path), access=Access.READ_ONLY) for path in _unseen(place, shown)),
        devices=_devices(bool(workload.resources.gpus)),
        binds=binds,
        user_links=tuple(inside),
    )


def _shown(entry: Path, binds: Iterable[Bind]) -> list[str]:
    """The folder, or what lies in it where the workload has something of its own there (`/mnt/hanako`)."""
    if not entry.is_dir() or entry.is_symlink():
        return []
    if not any(PurePosixPath(bind.target).is_relative_to(entry) for bind in binds):
        return [str(entry)]
    taken = {bind.target for bind in binds}
    with suppress(PermissionError):
        return [
            str(inner)
            for inner in sorted(entry.iterdir())
            if inner.is_dir() and not inner.is_symlink() and str(inner) not in taken
        ]
    return []


def run_folders() -> tuple[str, ...]:
    """Return the folders of /run that are shown."""
    return tuple(f"/run/{name}" for name in _RUN if Path("/run", name).is_dir())


def linked(path: str, root: Path) -> str:
    """Return where `path` of the workload is on the machine when links stand in for mounts."""
    return f"{root}{_tidy(path)}"


def _bind(mount: Mount, place: Place) -> Bind:
    source = place.root(mount.source) / mount.source.text
    return Bind(source=source, target=_tidy(mount.target), access=mount.access)


def _tidy(target: str) -> str:
    return os.path.normpath("/" + target.lstrip("/"))


def _holder(target: str, binds: Iterable[Bind]) -> bool:
    return any(PurePosixPath(target).is_relative_to(bind.target) for bind in binds)


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def _reached(paths: Iterable[str], shown: Iterable[str], covered: Iterable[str]) -> tuple[str, ...]:
    """Return those that a shown folder holds and nothing covers."""
    return tuple(path for path in paths if _within(path, shown) and not _within(path, covered))


def _outermost(paths: Iterable[Path]) -> list[Path]:
    real = sorted({path.resolve() for path in paths if path.is_dir()})
    return [path for path in real if not any(path != other and path.is_relative_to(other) for other in real)]


def _unseen(place: Place, shown: tuple[str, ...]) -> list[Path]:
    """The tools that neither a shown folder holds, nor a folder before them in the list."""
    found: list[Path] = []
    for tool in place.tools:
        # Both names: a virtual environment is started by its path as written and finds itself by the resolved one.
        for path in dict.fromkeys((Path(os.path.abspath(tool)), tool.resolve())):
            covered = [str(hidden.resolve()) for hidden in place.hidden] + list(PRIVATE)
            seen = _within(str(path), shown) and not _within(str(path), covered)
            if (
                path != Path("/")
                and path.is_dir()
                and not seen
                and not any(path.is_relative_to(other) for other in found)
            ):
                found.append(path)
    return found


def _devices(cards: bool) -> tuple[str, ...]:
    names = [name for name in _DEVICES if Path("/dev", name).exists()]
    if cards:
        names += sorted(entry.name for pattern in _CARDS for entry in Path("/dev").glob(pattern))
    return tuple(names)
