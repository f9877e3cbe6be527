"""Writes the ledger folder of a workload: it appears whole, under its name, or not at all. Blocks."""

import os
import secrets
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kqi_spawner import logfile
from kqi_spawner.errors import CannotStart
from kqi_spawner.local.images import Environment
from kqi_spawner.local.isolation import Account, Isolation
from kqi_spawner.local.ledger import GONE, NEW, Facts, facts_text
from kqi_spawner.local.limits import Groups, limit
from kqi_spawner.local.plan import Circumstances, linked_mounts, plan
from kqi_spawner.local.roots import Skeleton
from kqi_spawner.local.view import Place, linked
from kqi_spawner.workload import Workload

_STALE_S = 600
# The supervisor fills it in place, so that an end can be recorded on a full disk.
_EXIT_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What is the same for every workload."""

    state: Path
    store: Path
    isolation: Isolation
    account: Account
    groups: Groups
    environments: Path
    tools: Path | None = None
    hidden: tuple[Path, ...] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        return self.state / "ledger"

    @property
    def skeletons(self) -> Path:
        return self.state / "skeletons"


def prepare(engine: Engine, workload: Workload, image: Environment) -> None:
    """Write the folder, unless it appears meanwhile. Raises `CannotStart` and OSError, leaving nothing behind."""
    marker = f"{workload.name}.{secrets.token_hex(6)}"
    folder = engine.state / "run" / marker
    # Of a volume, workloads see what they were given, and nothing by the place where it lies.
    hidden = (engine.state, engine.store, *engine.hidden, *engine.volumes.values())
    # All of them stay visible to all, so that a notebook may start the kernel of another environment.
    place = Place(
        folder=folder,
        store=engine.store.absolute(),
        hidden=hidden,
        tools=(engine.environments, *image.needed),
        offered=engine.tools if engine.tools and engine.tools.is_dir() else None,
        volumes=engine.volumes,
    )
    circumstances = Circumstances(
        isolation=engine.isolation,
        account=engine.account,
        image=image,
        limit=limit(engine.groups, marker, workload.resources),
        place=place,
        skeletons=engine.skeletons,
        marker=marker,
    )
    temporary = engine.ledger / f"{NEW}{marker}"
    try:
        _make_run_folder(engine, workload, place)
        _check_reach(engine, place)
        _open_log(engine, workload)
        _write(temporary, circumstances, workload)
        temporary.rename(engine.ledger / workload.name)
    except BaseException as cause:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(cause, OSError) and (engine.ledger / workload.name).is_dir():
            return
        raise


def remove_stale(state: Path) -> None:
    """Remove what a crash left in the middle of `prepare`, which may hold secrets, or of a removal."""
    for folder in (state / "ledger").glob(f"{GONE}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (*(state / "ledger").glob(f"{NEW}*"), *(state / "skeletons").glob(f"{NEW}*")):
        with suppress(OSError):
            if folder.stat().st_mtime < time.time() - _STALE_S:
                shutil.rmtree(state / "run" / folder.name.removeprefix(NEW), ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, of: Circumstances, workload: Workload) -> None:
    made = plan(workload, of)
    folder.mkdir(mode=0o700)
    if made.skeleton is not None:
        _make_skeleton(of.skeletons, made.skeleton, of.marker)
    for name, text in made.files.items():
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    known = Facts(
        marker=of.marker,
        log=str(of.place.store / workload.log.text),
        run_folder=str(of.place.folder),
        groups=tuple(str(group) for group in of.limit.groups),
    )
    (folder / "facts.json").write_text(facts_text(known), encoding="utf-8")
    (folder / "lock").touch(mode=0o600)
    (folder / "exit.tmp").write_bytes(b" " * _EXIT_BYTES)
    script = os.open(folder / "script", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(script, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(made.script)


def _make_skeleton(skeletons: Path, skeleton: Skeleton, marker: str) -> None:
    """Make it unless it is there. Never removed: that would take the mounts away from who runs on it."""
    target = skeletons / skeleton.name
    if target.is_dir():
        return
    root = skeletons / f"{NEW}{marker}"
    root.mkdir(mode=0o755, parents=True)
    root.chmod(0o755)
    for folder in skeleton.folders:
        _make_open(Path(f"{root}{folder}"), root)
    for file in skeleton.files:
        Path(f"{root}{file}").touch(mode=0o644)
    for link, to in skeleton.links:
        here = Path(f"{root}{link}")
        _make_open(here.parent, root)
        here.symlink_to(to)
    try:
        root.rename(target)
    except OSError:
        shutil.rmtree(root)
        if not target.is_dir():
            raise


def _make_open(folder: Path, root: Path) -> None:
    """Make it and what is missing above it, for everybody to enter, whatever the umask."""
    if folder == root or folder.is_dir():
        return
    _make_open(folder.parent, root)
    folder.mkdir()
    folder.chmod(0o755)


def _make_run_folder(engine: Engine, workload: Workload, place: Place) -> None:
    _make_parent(place.folder.parent)
    place.folder.mkdir(mode=0o711)
    place.folder.chmod(0o711)
    for name in ("tmp", *(f"scratch/{number}" for number in range(len(workload.scratches)))):
        folder = place.folder / name
        folder.mkdir(parents=True, mode=0o755)
        _own(folder, engine.account)
        folder.chmod(0o700)
    if engine.isolation is Isolation.LINKS:
        _make_links(engine, workload, place)


def _make_links(engine: Engine, workload: Workload, place: Place) -> None:
    root = place.folder / "view"
    (root / "kqi").mkdir(parents=True)
    if place.offered is not None:
        (root / "kqi" / "tools").symlink_to(place.offered)
    scratches = str(place.folder / "scratch")
    for target, source in linked_mounts(workload, place):
        here = Path(linked(target, root))
        here.parent.mkdir(parents=True, exist_ok=True)
        if source.startswith(scratches):
            here.mkdir(exist_ok=True)
            _own(here, engine.account)
        elif here.is_dir() and not any(here.iterdir()):
            here.rmdir()
            here.symlink_to(source)
        else:
            here.symlink_to(source)
    for link in workload.links:
        here = Path(linked(link.target, root)).parent
        if not here.exists():
            here.mkdir(parents=True)
            _own(here, engine.account)


def _make_parent(folder: Path) -> None:
    """`run/` can be entered but not listed: folder names tell who runs what."""
    if not folder.is_dir():
        folder.mkdir(mode=0o711, exist_ok=True)
        folder.chmod(0o711)


def _open_log(engine: Engine, workload: Workload) -> None:
    log = engine.store / workload.log.text
    if not log.parent.is_dir():
        log.parent.mkdir(parents=True)
        _own(log.parent, engine.account)
    fd = logfile.create(log)
    try:
        if engine.account.drop:
            os.fchown(fd, engine.account.uid, engine.account.gid)
    finally:
        os.close(fd)


def _own(folder: Path, who: Account) -> None:
    if who.drop:
        os.chown(folder, who.uid, who.gid)


def _check_reach(engine: Engine, place: Place) -> None:
    """With links, and in bubblewrap, the account walks to its files itself; `unshare` mounts them as root."""
    if not engine.account.drop or engine.isolation is Isolation.UNSHARE:
        return
    for folder in (*reversed(place.folder.parents), *reversed(place.store.parents), place.store):
        mode = folder.stat()
        own, grouped = mode.st_uid == engine.account.uid, mode.st_gid == engine.account.gid
        bit = stat.S_IXUSR if own else stat.S_IXGRP if grouped else stat.S_IXOTH
        if not mode.st_mode & bit:
            raise CannotStart(
                f"the account with uid {engine.account.uid} cannot enter {folder}: chmod o+x, or another place"
            )
