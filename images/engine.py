"""What builds images here: buildah, or docker where a daemon answers."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from images.rootfs import CannotBuild, cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One image to build."""

    reference: str
    dockerfile: Path
    context: Path
    arguments: Mapping[str, str]
    secrets: Mapping[str, Path]
    again: bool = False  # every step anew

    @property
    def words(self) -> list[str]:
        """What buildah and docker call the same."""
        named = [f"{name}={value}" for name, value in sorted(self.arguments.items())]
        secrets = [f"id={name},src={path}" for name, path in self.secrets.items()]
        return [
            *("--tag", self.reference, "--file", str(self.dockerfile)),
            *(word for one in named for word in ("--build-arg", one)),
            *(word for one in secrets for word in ("--secret", one)),
            *(("--no-cache",) if self.again else ()),
            str(self.context),
        ]


class Engine(Protocol):
    def build(self, order: Order) -> None: ...
    def has(self, reference: str) -> bool: ...
    def import_root(self, archive: Path, reference: str) -> None: ...
    def save(self, reference: str, archive: Path) -> None: ...
    def identity(self, reference: str) -> str: ...
    def size(self, reference: str) -> int: ...


def here() -> Engine:
    """Return the one of this machine. Raises `CannotBuild`."""
    if shutil.which("buildah"):
        return Buildah()
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        return Docker()
    raise CannotBuild("buildah or docker builds the images: apt-get install buildah mmdebstrap runc")


class Buildah:
    """Keeps its images in the cache of the builds, apart from all others of the machine."""

    def __init__(self) -> None:
        folder = cache() / "storage"
        folder.mkdir(exist_ok=True)
        # As an ordinary user buildah finds its own place, for it is given a namespace first.
        self._around = dict(os.environ)
        if os.geteuid() == 0:
            settings = folder / "storage.conf"
            text = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
            if not settings.exists() or settings.read_text("utf-8") != text:
                settings.write_text(text, "utf-8")
            self._around["CONTAINERS_STORAGE_CONF"] = str(settings)

    def build(self, order: Order) -> None:
        how = ["--layers", "--network", "host", "--format", "docker", "--quiet"]
        if "BUILDAH_ISOLATION" not in self._around and (runc := shutil.which("runc", path=_PLACES)):
            how += ["--isolation", "oci", "--runtime", runc]
        self.run("build", *how, *order.words, told=order.reference)

    def has(self, reference: str) -> bool:
        words = ["buildah", "inspect", "--type", "image", reference]
        return subprocess.run(words, env=self._around, capture_output=True).returncode == 0

    def import_root(self, archive: Path, reference: str) -> None:
        made = self.run("from", "scratch")
        try:
            self.run("add", "--quiet", made, str(archive), "/")
            self.run("config", "--cmd", "/bin/bash", made)
            self.run("commit", "--quiet", "--format", "docker", made, reference)
        finally:
            self.run("rm", made)

    def save(self, reference: str, archive: Path) -> None:
        self.run("push", "--quiet", reference, f"docker-archive:{archive}:{reference}")

    def identity(self, reference: str) -> str:
        return self.run("inspect", "--type", "image", "--format", "{{.FromImageID}}", reference)

    def size(self, reference: str) -> int:
        said = self.run("images", "--json", reference)
        return _bytes(json.loads(said)[0]["size"])

    def run(self, *words: str, told: str = "") -> str:
        done = subprocess.run(["buildah", *words], env=self._around, capture_output=True)
        if done.returncode != 0:
            raise CannotBuild(f"{told or ' '.join(words[:2])}:\n{_end(done.stdout + done.stderr)}")
        return done.stdout.decode().strip()


class Docker:
    """Keeps its images where docker keeps all."""

    def build(self, order: Order) -> None:
        self._run("build", "--quiet", "--network", "host", *order.words, told=order.reference)

    def has(self, reference: str) -> bool:
        return subprocess.run(["docker", "image", "inspect", reference], capture_output=True).returncode == 0

    def import_root(self, archive: Path, reference: str) -> None:
        self._run("import", "--change", "CMD /bin/bash", str(archive), reference)

    def save(self, reference: str, archive: Path) -> None:
        self._run("save", "--output", str(archive), reference)

    def identity(self, reference: str) -> str:
        return self._run("image", "inspect", "--format", "{{.Id}}", reference).removeprefix("sha256:")

    def size(self, reference: str) -> int:
        return int(self._run("image", "inspect", "--format", "{{.Size}}", reference))

    def _run(self, *words: str, told: str = "") -> str:
        around = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run(["docker", *words], env=around, capture_output=True)
        if done.returncode != 0:
            raise CannotBuild(f"{told or ' '.join(words[:2])}:\n{_end(done.stdout + done.stderr)}")
        return done.stdout.decode().strip()


_PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def _bytes(text: str) -> int:
    number, unit = text.split()
    return int(float(number) * _UNITS[unit.upper()])


def _end(said: bytes) -> str:
    lines: Sequence[str] = said.decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-40:])
