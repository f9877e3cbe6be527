"""Backup and restore: both databases, keys and configuration, the list of blobs; with the store if asked."""

import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from kqi import __version__
from kqi_hub.db.migrate import check_known, check_not_newer, current
from kqi_hub.db.place import Place, place_of
from kqi_hub.db.postgresql import PostgresServer
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.engine import owner
from kqi_hub.errors import ConfigError, Conflict
from kqi_hub.settings import Settings
from kqi_hub.storage.blobs import Blobs, file_sha256
from kqi_hub.storage.store import Store
from kqi_hub.supervisor import lock
from kqi_hub.supervisor.dump import dump, is_empty, undump
from kqi_hub.supervisor.unpack import Owners, Packer, Unsafe, unpack

_DATABASES = ("kqi.sqlite", "hub/jupyterhub.sqlite")
_DUMP = "kqi.dump"
_SQLITE, _POSTGRES = "SQLite", "PostgreSQL"
_FOLDERS = ("secrets", "config.d")
_STORE = ("blobs", "datasets", "runs", "homes", "workspaces", "archives")
_MANIFEST = "manifest.json"


def backup(settings: Settings, target: Path, *, with_store: bool) -> int:
    """Write a `.tar.gz` of mode 0600, whole or not at all, also while the platform runs; return its size."""
    building = target.with_name(f".{target.name}.building")
    try:
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with _blobs_kept(settings), tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as archive:
                _add_all(settings, archive, with_store)
            file.flush()
            os.fsync(file.fileno())
        os.replace(building, target)
    finally:
        building.unlink(missing_ok=True)
    return target.stat().st_size


def restore(settings: Settings, source: Path, *, force: bool) -> None:
    """Put a backup's content in place of the state. Refuses while the platform runs, or over a state unless forced."""
    state = settings.state
    if lock.held(settings):
        raise Conflict("restore_running")
    place = place_of(settings)
    if not force:
        _check_empty(settings, place)
    (state / "run").mkdir(mode=0o711, parents=True, exist_ok=True)
    with lock.only_one(settings), tempfile.TemporaryDirectory(dir=state, prefix=".restore-") as folder:
        unpacked = Path(folder)
        _unpack(settings, source, unpacked)
        if isinstance(place, PostgresServer):
            undump(place, unpacked / "state" / _DUMP)
            (unpacked / "state" / _DUMP).unlink()
        for suffix in ("-wal", "-shm"):
            for name in _DATABASES:
                Path(f"{state / name}{suffix}").unlink(missing_ok=True)
        if (unpacked / "state" / "environments").exists():
            # One by one: those that are here stay.
            _move(unpacked / "state" / "environments", settings.environments)
            (unpacked / "state" / "environments").rmdir()
        _move(unpacked / "state", state)
        if (unpacked / "store").exists():
            _move(unpacked / "store", settings.store)
    for name in ("secrets", "hub"):
        if (state / name).exists():
            (state / name).chmod(0o700)


def _blobs_kept(settings: Settings) -> AbstractContextManager[None]:
    """What the databases name, and what the manifest lists, is to be there until it is packed."""
    return Blobs(Store(settings.store)).kept() if settings.store.exists() else nullcontext()


def _check_empty(settings: Settings, place: Place) -> None:
    if any((settings.state / name).exists() for name in ("kqi.sqlite", "secrets/service-token")):
        raise Conflict("restore_not_empty", path=settings.state)
    if isinstance(place, PostgresServer) and not is_empty(place):
        raise Conflict("restore_database_not_empty", path=place.shown)


def _add_all(settings: Settings, archive: tarfile.TarFile, with_store: bool) -> None:
    packer = Packer(archive)
    with tempfile.TemporaryDirectory(dir=settings.state / "run") as folder:
        # The databases first: what they name is in the store by then, and stays there while the blobs are kept.
        copies = _copy_databases(settings, Path(folder))
        _add_text(archive, _MANIFEST, json.dumps(_manifest(settings, copies, with_store), indent=1))
        for name, copy in copies.items():
            archive.add(copy, f"state/{name}")
    for name in _FOLDERS:
        if (settings.state / name).exists():
            packer.add(settings.state / name, f"state/{name}")
    if (settings.state / "kqi-hub.toml").exists():
        archive.add(settings.state / "kqi-hub.toml", "state/kqi-hub.toml")
    # What `uv` built is made again from its requirements; the names that point to it are kept.
    for pointer in settings.environments.glob("*/environment.json"):
        archive.add(pointer, f"state/environments/{pointer.parent.name}/environment.json")
    for name in _STORE if with_store else ():
        if (settings.store / name).exists():
            packer.add(settings.store / name, f"store/{name}")


def _copy_databases(settings: Settings, folder: Path) -> dict[str, Path]:
    place = place_of(settings)
    if isinstance(place, PostgresServer):
        dump(place, folder / _DUMP)
        return {_DUMP: folder / _DUMP}
    copies = {}
    for name in _DATABASES:
        if (settings.state / name).exists():
            copies[name] = folder / Path(name).name
            _copy_database(settings.state / name, copies[name])
            copies[name].chmod(0o600)
    return copies


def _manifest(settings: Settings, copies: dict[str, Path], with_store: bool) -> dict[str, Any]:
    place = place_of(settings)
    blobs = [path for path in (settings.store / "blobs").rglob("*") if path.is_file()]
    return {
        "version": __version__,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "engine": _engine(settings),
        "revision": current(place) if isinstance(place, PostgresServer) else None,
        "databases": {name: file_sha256(copy) for name, copy in copies.items()},
        "blobs": {path.name: path.stat().st_size for path in blobs},
        "store": with_store,
        "owner": owner(settings),
    }


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o600
    archive.addfile(member, io.BytesIO(text.encode()))


def _copy_database(source: Path, target: Path) -> None:
    reading, writing = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _unpack(settings: Settings, source: Path, into: Path) -> None:
    try:
        with tarfile.open(source, "r:gz") as archive:
            members = iter(archive)
            first = next(members, None)
            content = archive.extractfile(first) if first is not None and first.name == _MANIFEST else None
            if content is None:
                raise ConfigError("backup_not_readable", path=source, message=_MANIFEST)
            manifest = json.loads(content.read())
            _check_engine(settings, manifest)
            then = manifest["owner"]
            unpack(members, archive, into, Owners(tuple(then) if then else None, owner(settings)))
    except (tarfile.TarError, Unsafe, OSError, ValueError, LookupError, TypeError, EOFError) as error:
        raise ConfigError("backup_not_readable", path=source, message=str(error)) from error
    _check(into, manifest)
    if _engine(settings) == _SQLITE:
        check_not_newer(SqliteFile(into / "state" / "kqi.sqlite"))


def _check_engine(settings: Settings, manifest: dict[str, Any]) -> None:
    then, now = manifest.get("engine", _SQLITE), _engine(settings)
    if then != now:
        raise ConfigError("restore_other_database", then=then, now=now)
    check_known(manifest.get("revision"))


def _engine(settings: Settings) -> str:
    return _POSTGRES if isinstance(place_of(settings), PostgresServer) else _SQLITE


def _check(unpacked: Path, manifest: dict[str, Any]) -> None:
    """Raises ConfigError unless databases and blobs are, byte for byte, what was packed."""
    expected = {unpacked / "state" / name: digest for name, digest in manifest["databases"].items()}
    if manifest["store"]:
        blobs = unpacked / "store" / "blobs" / "sha256"
        expected |= {blobs / digest[:2] / digest: digest for digest in manifest["blobs"]}
    for path, digest in expected.items():
        if not path.is_file() or file_sha256(path) != digest:
            raise ConfigError("backup_not_readable", path=path.relative_to(unpacked), message="SHA-256")


def _move(source: Path, target: Path) -> None:
    """Put every entry of `source` into `target`, in place of one of that name."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        place = target / entry.name
        old = target / f".{entry.name}.old"
        if place.exists():
            os.replace(place, old)
        os.replace(entry, place) if entry.stat().st_dev == target.stat().st_dev else shutil.move(entry, place)
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
