"""What the tests of the local engine look at on the machine."""

import os
from pathlib import Path

import pytest

from kqi_spawner.local import ledger
from kqi_spawner.workload import StorePath

from .engines import Engine

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts workloads as somebody else")


def folder(engine: Engine, text: str) -> StorePath:
    """Make a folder of the store that workloads may write."""
    path = engine.settings.store / text
    path.mkdir(parents=True)
    if engine.settings.run_as:
        os.chown(path, *engine.settings.run_as)
    return StorePath(text)


def kept(engine: Engine, name: str) -> Path:
    return engine.settings.state / "ledger" / name


def private(engine: Engine) -> bool:
    return engine.backend.isolation.private


def processes_of(engine: Engine, name: str) -> list[int]:
    marker = b"KQI_WORKLOAD=" + ledger.facts(kept(engine, name)).marker.encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if marker in environ.split(b"\0"):
                found.append(int(entry.name))
    return found
