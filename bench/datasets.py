"""Laying a dataset out beside `cp -al`, and a dataset at a run's start beside a copy of each file."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.record import Record, median_pairs, timed
from kqi_hub.datasets.layout import Placed
from kqi_hub.datasets.trees import lay_out
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store

_SIZES = [10, 100, 1_000, 10_000, 100_000]


def run() -> list[Record]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        root = Path(folder)
        return [*_layout(root)]


def _blobs(root: Path, count: int) -> tuple[Blobs, list[Placed]]:
    blobs = Blobs(Store(root))
    placed = []
    for number in range(count):
        content = f"{number:>1024}".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        path = blobs.path(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        placed.append(Placed(f"training/{number // 1000}/{number}.bin", number // 1000, sha256, 1024))
    return blobs, placed


def _layout(root: Path) -> list[Record]:
    ours, theirs, ready, copies = [], [], [], []
    for count in _SIZES:
        blobs, placed = _blobs(root / "store", count)
        tree, twin = root / f"tree-{count}", root / f"twin-{count}"

        def make(tree: Path = tree, placed: list[Placed] = placed, blobs: Blobs = blobs) -> float:
            shutil.rmtree(tree, ignore_errors=True)
            return timed(lambda: lay_out(tree, placed, ["training"], "{}\n", blobs))

        def copy(tree: Path = tree, twin: Path = twin) -> float:
            shutil.rmtree(twin, ignore_errors=True)
            return timed(lambda: subprocess.run(["cp", "-al", str(tree), str(twin)], check=True))

        make()
        mine, other = median_pairs(make, copy)
        assert _names(tree) == _names(twin) and len(_names(tree)) == count + 1
        ours.append(mine)
        theirs.append(other)
        if count <= 10_000:
            ready.append(min(_mounted(tree) for _ in range(5)))
            copies.append(timed(lambda tree=tree: _copy_loop(tree, root / "copied")))
        shutil.rmtree(twin)
    link = timed(lambda: [os.link(root / "tree-10" / "meta.json", root / f"l{n}") for n in range(1000)]) / 1000
    limit = {"one link(2), s": link}
    kept = Record(
        name="dataset_layout",
        peer="cp -al",
        n=_SIZES,
        ours=ours,
        theirs=theirs,
        limit=limit,
        target="<= 1.5 x, background",
    )
    at_start = Record(
        name="dataset_ready",
        peer="copy of each file",
        n=[10, 100, 1_000, 10_000],
        ours=ready,
        theirs=copies,
        limit={"mount --bind, s": ready[0]},
        target="<= 20 ms at any size",
    )
    return [kept, at_start]


def _mounted(tree: Path) -> float:
    """What a run's start does for a dataset: one read-only mount of the whole tree, in a mount namespace of its own."""
    script = 'mount --bind "$0" /mnt && mount -o remount,bind,ro /mnt && ls /mnt/training > /dev/null'
    base = timed(lambda: subprocess.run(["unshare", "-rm", "true"], check=True))
    return max(
        timed(lambda: subprocess.run(["unshare", "-rm", "sh", "-c", script, str(tree)], check=True)) - base, 1e-4
    )


def _copy_loop(tree: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for folder, _, files in os.walk(tree):
        place = target / Path(folder).relative_to(tree)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(Path(folder, name), place / name)


def _names(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
