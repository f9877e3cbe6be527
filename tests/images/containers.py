"""Containers of the images under test: by runc, allowed as little as a pod."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from images.engine import Buildah

USER = (1000, 100)
_START_S, _END_S = 60.0, 30.0


@dataclass(slots=True, kw_only=True)
class Container:
    """Use as a context. `command` comes after the entry point, or in its place if `entrypoint` is given."""

    image: str
    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)  # place in the container to folder; read-only: `:ro`
    user: tuple[int, int] = USER
    network: bool = False
    read_only: bool = False
    name: str = field(default_factory=lambda: f"kqi-image-{uuid4().hex[:10]}")
    folder: Path = field(init=False)
    root: Path = field(init=False)
    _working: str = ""
    _process: "subprocess.Popen[bytes] | None" = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="kqi-image-", dir="/var/tmp"))
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text("utf-8", "replace")

    def run(self, *words: str, check: bool = True) -> str:
        """Run a program beside the first one; return what it says."""
        done = subprocess.run(
            [*self._runc, "exec", self.name, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def signal(self, name: str) -> None:
        subprocess.run([*self._runc, "kill", self.name, name], check=True)

    def wait(self) -> int:
        """Return how the first process ended."""
        assert self._process is not None
        return self._process.wait(_END_S)

    def until(self, done: Callable[[], Any]) -> Any:
        """Return what `done` answers once it is not empty; raise when the container ends before or is too slow."""
        last = time.monotonic() + _START_S
        while True:
            assert self._process is not None
            ended = self._process.poll()
            if found := done():
                return found
            if ended is not None or time.monotonic() > last:
                raise AssertionError(f"{'ended' if ended is not None else 'too slow'}:\n{self.output[-4000:]}")
            time.sleep(0.1)

    @property
    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self.folder / "runc")]

    def _start(self) -> None:
        buildah = Buildah()
        self._working = buildah.run("from", "--pull-never", self.image)
        self.root = Path(buildah.run("mount", self._working))
        told = json.loads(buildah.run("inspect", "--type", "image", self.image))["OCIv1"]["config"]
        (self.folder / "config.json").write_text(json.dumps(self._specification(told)))
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._runc, "run", "--bundle", str(self.folder), self.name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._until_it_is_there()

    def _until_it_is_there(self) -> None:
        last = time.monotonic() + _START_S
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < last:
            done = subprocess.run([*self._runc, "state", self.name], capture_output=True, text=True)
            if done.returncode == 0 and json.loads(done.stdout)["status"] == "running":
                return
            time.sleep(0.05)

    def _remove(self) -> None:
        if self._process is not None:
            subprocess.run([*self._runc, "kill", "--all", self.name, "KILL"], capture_output=True)
            self._process.wait(_END_S)
            subprocess.run([*self._runc, "delete", "--force", self.name], capture_output=True)
        if self._working:
            Buildah().run("rm", self._working)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _specification(self, told: dict[str, Any]) -> dict[str, Any]:
        given = dict(one.split("=", 1) for one in told.get("Env") or ())
        entry = list(told.get("Entrypoint") or ()) if self.entrypoint is None else list(self.entrypoint)
        words = [*entry, *(self.command or (told.get("Cmd") or () if self.entrypoint is None else ()))]
        uid, gid = self.user
        spaces = ["pid", "ipc", "uts", "mount", *(() if self.network else ("network",))]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": self.read_only},
            "hostname": "image",
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": words,
                "env": [f"{name}={value}" for name, value in {**given, **self.environment}.items()],
                "cwd": told.get("WorkingDir") or "/",
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "mounts": [*_SYSTEM, *(_bind(place, source) for place, source in self.mounts.items())],
            "linux": {"namespaces": [{"type": space} for space in spaces]},
        }


def owned(folder: Path) -> Path:
    """Make a folder that the account of the images may write to."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, *USER)
    return folder


def _bind(place: str, source: Path) -> dict[str, Any]:
    target, _, mode = place.partition(":")
    return {"destination": target, "type": "bind", "source": str(source), "options": ["rbind", mode or "rw"]}


_SYSTEM: tuple[dict[str, Any], ...] = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
    {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]},
)
