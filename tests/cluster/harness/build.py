"""Builds the components of a cluster from Go modules, once for each state of their locked sources."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "components"
_STAMPS = "-s -w -X k8s.io/component-base/version.gitVersion={0} -X k8s.io/client-go/pkg/version.gitVersion={0}"
_SMALL = ("-trimpath", "-buildvcs=false")


class CannotBuild(Exception):
    """Says what is missing and how to get it, or what the compiler said."""


@dataclass(frozen=True, slots=True)
class Component:
    """A Go module and what it is built into."""

    name: str
    targets: tuple[str, ...] = ()  # packages of its own; none: the tools that its go.mod names
    tags: str = ""
    cgo: bool = False
    renamed: Mapping[str, str] | None = None
    files: str = ""  # instead of building: these files of the one module that its go.mod names


COMPONENTS = (
    Component("kubernetes", targets=("./kube", "./coredns", "./pause", "./probe")),
    Component("runtime", tags="no_btrfs no_devmapper no_zfs", renamed={"server": "etcd"}),
    Component("runc", tags="seccomp", cgo=True),
    Component("helm"),
    Component("kwok"),
    Component("gateway", files="config/crd/standard/*_httproutes.yaml"),
)


def binaries(names: Iterable[str] = ("kubernetes", "runtime", "runc")) -> list[Path]:
    """Return the folders that hold the built programs, building what is not there yet. Raises `CannotBuild`."""
    known = {component.name: component for component in COMPONENTS}
    return [_built(known[name]) for name in names]


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kqi-cluster")


def _built(component: Component) -> Path:
    folder = cache() / f"{component.name}-{_key(component)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{component.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            building = folder.with_name(f".building-{component.name}")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            _build(component, building)
            building.rename(folder)
            for old in folder.parent.glob(f"{component.name}-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)
    return folder


def _key(component: Component) -> str:
    found = hashlib.sha256(repr(component).encode())
    for file in sorted((SOURCES / component.name).rglob("*")):
        if file.is_file():
            found.update(file.relative_to(SOURCES).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def _build(component: Component, out: Path) -> None:
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        raise CannotBuild("Go 1.26 or newer is needed to build a Kubernetes for the tests: install it from go.dev")
    if component.cgo:
        missing = [name for name in ("gcc", "pkg-config") if shutil.which(name) is None]
        if missing:
            raise CannotBuild(f"needed to build {component.name}: apt-get install {' '.join(missing)} libseccomp-dev")
    source = SOURCES / component.name
    around = {**os.environ, "CGO_ENABLED": "1" if component.cgo else "0", "GOBIN": str(out), "GOFLAGS": "-mod=readonly"}
    flags = [*_SMALL, "-tags", component.tags, "-ldflags", _stamps(go, source) if component.targets else "-s -w"]
    if component.files:
        words = [go, "mod", "download", "-json"]
    elif component.targets:
        words = [go, "build", *flags, "-o", f"{out}/", *component.targets]
    else:
        words = [go, "install", *flags, "tool"]
    done = subprocess.run(words, cwd=source, env=around, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotBuild(f"{component.name} could not be built:\n{done.stderr[-4000:]}")
    if component.files:
        for file in Path(json.loads(done.stdout)["Dir"]).glob(component.files):
            shutil.copy(file, out)
    for old, new in (component.renamed or {}).items():
        (out / old).rename(out / new)


def _stamps(go: str, source: Path) -> str:
    words = [go, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = subprocess.run(words, cwd=source, check=True, capture_output=True, text=True).stdout.strip()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    numbers = f" -X k8s.io/component-base/version.gitMajor={major} -X k8s.io/component-base/version.gitMinor={minor}"
    return _STAMPS.format(version) + numbers
