"""Builds images in order, and writes them as archives."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from images import engine, machine, rootfs
from images.recipes import FOLDER, RECIPES, ordered, version

_ROOT_IMAGE = "localhost/kqi/debian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    names: tuple[str, ...]
    tag: str = field(default_factory=version)
    prefix: str = "localhost/kqi"
    arguments: Mapping[str, str] = field(default_factory=dict)  # given to every image; each takes those it declares
    fresh: bool = False  # the newest packages: neither the kept base nor kept layers

    def reference(self, name: str) -> str:
        return f"{self.prefix}/{name}:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    name: str
    reference: str
    seconds: float
    size: int


def build(plan: Plan) -> Iterator[Built]:
    """Build what is asked for and what it needs, and tell of each. Raises `CannotBuild`."""
    here = engine.here()
    given = dict(plan.arguments)
    if not given.keys() & {"BASE", "CUDA"}:
        given["BASE"] = _own_base(here, fresh=plan.fresh)
    with tempfile.TemporaryDirectory(prefix="kqi-images-") as folder:
        secrets = machine.secrets(Path(folder), os.environ)
        for name in ordered(plan.names):
            began = time.monotonic()
            recipe = RECIPES[name]
            needs = {argument: plan.reference(other) for argument, other in recipe.needs.items()}
            order = engine.Order(
                reference=plan.reference(name),
                dockerfile=FOLDER / name / "Dockerfile",
                context=recipe.context or FOLDER / name,
                arguments={**_declared(FOLDER / name / "Dockerfile", given), **needs},
                secrets=secrets,
                again=plan.fresh,
            )
            here.build(order)
            size = here.size(order.reference)
            yield Built(name=name, reference=order.reference, seconds=time.monotonic() - began, size=size)


def archives(references: Iterable[str], folder: Path) -> list[Path]:
    """Write each image into `folder` unless it lies there; return the files, in the format of `docker save`."""
    here = engine.here()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for reference in references:
        name = reference.rsplit("/", 1)[1].replace(":", "-")
        target = folder / f"{name}.{here.identity(reference)[:12]}.tar"
        if not target.exists():
            building = folder / f".{target.name}"
            building.unlink(missing_ok=True)
            here.save(reference, building)
            building.rename(target)
            for old in folder.glob(f"{name}.*.tar"):
                if old != target:
                    old.unlink()
        written.append(target)
    return written


def _own_base(here: engine.Engine, *, fresh: bool) -> str:
    """Return a base of Debian's packages, for no registry of images needs to be reached."""
    archive = rootfs.archive(fresh=fresh)
    reference = f"{_ROOT_IMAGE}:{archive.stem.removeprefix('rootfs-')}"
    if fresh or not here.has(reference):
        here.import_root(archive, reference)
    return reference


def _declared(dockerfile: Path, given: Mapping[str, str]) -> dict[str, str]:
    lines = [line.split() for line in dockerfile.read_text("utf-8").splitlines() if line.startswith("ARG ")]
    names = {words[1].split("=")[0] for words in lines}
    return {name: value for name, value in given.items() if name in names}
