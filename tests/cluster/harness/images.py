"""Writes small images as archives, without a container engine."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One layer: `files` by their path in the image (all executable), `links` as path to target."""

    reference: str
    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    user: str = "65534:65534"


def write(image: Image, archive: Path) -> Path:
    """Write it in the format of `docker save`, whole or not at all."""
    layer = _layer(image)
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "User": image.user, "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests"}],
    }
    text = json.dumps(config).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image.reference], "Layers": [f"{digest}/layer.tar"]}]
    building = archive.with_name(f".{archive.name}")
    with tarfile.open(building, "w") as tar:
        _add(tar, f"{digest}/layer.tar", layer)
        _add(tar, name, text)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    building.rename(archive)
    return archive


def _layer(image: Image) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in sorted(_folders([*image.files, *image.links])):
            _add_folder(tar, folder, 0o755)
        _add_folder(tar, "tmp", 0o1777)
        for path, source in image.files.items():
            _add(tar, path.lstrip("/"), source.read_bytes(), mode=0o755)
        for path, target in image.links.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return packed.getvalue()


def _folders(paths: Iterable[str]) -> set[str]:
    parents = (parent for path in paths for parent in PurePosixPath(path.lstrip("/")).parents)
    return {str(parent) for parent in parents if str(parent) != "."}


def _add_folder(tar: tarfile.TarFile, path: str, mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _add(tar: tarfile.TarFile, path: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))
