"""A stub server for each test, clients of it, and the command line as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kqi

from .stub import TOKEN, Stub, serving


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as running:
        yield running


@pytest.fixture
def client(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kqi.Client]:
    monkeypatch.setenv("KQI_CONFIG_DIR", str(tmp_path / "config"))
    with kqi.Client(stub.url, token=TOKEN) as connected:
        yield connected


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs `python -m kqi` as a person's shell would."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "kqi", *arguments],
            cwd=self.folder, env=self.environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip

    def __call__(self, *arguments: str, text: str = "", **environment: str) -> Ended:
        shell = Shell(self.folder, {**self.environment, **environment})
        process = shell.start(*arguments)
        out, err = process.communicate(text, timeout=60)
        return Ended(process.returncode, out, err)


@pytest.fixture
def shell(stub: Stub, tmp_path: Path) -> Shell:
    """The command line, with a token for the stub."""
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KQI_", "LC_", "LANG"))}
    environment |= {"KQI_SERVER": stub.url, "KQI_TOKEN": TOKEN, "KQI_CONFIG_DIR": str(tmp_path / "config")}
    return Shell(folder, environment)
