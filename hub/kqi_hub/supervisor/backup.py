"""Backup and restore: both databases, keys and configuration, the list of blobs; with the store if asked."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from pathlib import Path

from kqi import __version__
from kqi_hub.db.migrate import check_not_newer
from kqi_hub.errors import ConfigError, Conflict
from kqi_hub.settings import Settings

_DATABASES = ("kqi.sqlite", "hub/jupyterhub.sqlite")
_PLAIN = ("secrets", "config.d", "kqi-hub.toml", "environments")
_STORE = ("blobs", "datasets", "runs", "homes")


def backup(settings: Settings, target: Path, *, with_store: bool) -> int:
    """Write a `.tar.gz` of mode 0600, whole or not at all, also while the platform runs; return its size."""
    building = target.with_name(f".{target.name}.building")
    try:
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as archive:
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
    state.mkdir(parents=True, exist_ok=True)
    if _running(settings):
        raise Conflict("restore_running")
    if (state / "kqi.sqlite").exists() and not force:
        raise Conflict("restore_not_empty", path=state)
    with tempfile.TemporaryDirectory(dir=state, prefix=".restore-") as folder:
        unpacked = Path(folder)
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(unpacked, filter="data")
            manifest = json.loads((unpacked / "manifest.json").read_text("utf-8"))
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise ConfigError("backup_not_readable", path=source, message=str(error)) from error
        check_not_newer(f"sqlite:///{unpacked / 'state' / 'kqi.sqlite'}")
        _check(unpacked, manifest)
        for suffix in ("-wal", "-shm"):
            for name in _DATABASES:
                Path(f"{state / name}{suffix}").unlink(missing_ok=True)
        _move(unpacked / "state", state)
        if (unpacked / "store").exists():
            _move(unpacked / "store", settings.store)
    for name in ("secrets", "hub"):
        if (state / name).exists():
            (state / name).chmod(0o700)


def _add_all(settings: Settings, archive: tarfile.TarFile, with_store: bool) -> None:
    hashes = {}
    with tempfile.TemporaryDirectory(dir=settings.state / "run") as folder:
        for name in _DATABASES:
            source = settings.state / name
            if source.exists():
                copy = Path(folder) / Path(name).name
                _copy_database(source, copy)
                hashes[name] = hashlib.sha256(copy.read_bytes()).hexdigest()
                archive.add(copy, f"state/{name}")
    for name in _PLAIN:
        if (settings.state / name).exists():
            archive.add(settings.state / name, f"state/{name}", filter=_without_builds)
    blobs = [path for path in (settings.store / "blobs").rglob("*") if path.is_file()]
    manifest = {
        "version": __version__,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "databases": hashes,
        "blobs": {path.name: path.stat().st_size for path in blobs},
        "store": with_store,
    }
    text = json.dumps(manifest, indent=1).encode()
    member = tarfile.TarInfo("manifest.json")
    member.size, member.mode = len(text), 0o600
    archive.addfile(member, io.BytesIO(text))
    if with_store:
        for name in _STORE:
            if (settings.store / name).exists():
                archive.add(settings.store / name, f"store/{name}")


def _copy_database(source: Path, target: Path) -> None:
    reading, writing = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _without_builds(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What `uv` built is made again from its requirements; the names that point to it are kept."""
    return None if "/.built" in member.name else member


def _check(unpacked: Path, manifest: dict[str, dict[str, str]]) -> None:
    for name, digest in manifest["databases"].items():
        if hashlib.sha256((unpacked / "state" / name).read_bytes()).hexdigest() != digest:
            raise ConfigError("backup_not_readable", path=name, message="SHA-256")


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


def _running(settings: Settings) -> bool:
    path = settings.state / "run" / "supervisor.lock"
    if not path.exists():
        return False
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
