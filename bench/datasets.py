"""Laying a dataset out beside `cp -al`, and a dataset at a run's start beside a copy of each file."""

import asyncio
import hashlib
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from tests.contract import engines

from bench.record import Record, median_pairs, timed
from kqi_hub.datasets.layout import Placed
from kqi_hub.datasets.trees import lay_out
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.workload import Access, Mount, StorePath

_STARTS = 15
_SIZES = [10, 100, 1_000, 10_000, 100_000]


def run() -> list[Record]:
    return asyncio.run(_measured())


async def _measured() -> list[Record]:
    async with engines.local(Isolation.BUBBLEWRAP) as engine:
        return await _layout(engine)


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


async def _layout(engine: engines.Engine) -> list[Record]:
    root = engine.store
    ours, theirs, ready, copies = [], [], [], []
    for count in _SIZES:
        blobs, placed = _blobs(root, count)
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
        ready.append(await _ready(engine, tree))
        if count <= 10_000:
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
        ours=ready[:-1],
        theirs=copies,
        limit={"100,000 files, s": ready[-1], "a whole start without a dataset, s": await _start(engine)},
        target="<= 20 ms at any size",
    )
    return [kept, at_start]


async def _ready(engine: engines.Engine, tree: Path) -> float:
    """Return what a dataset adds to a run from its start to its end, of the engine itself, in s."""
    pairs = [(await _start(engine, tree), await _start(engine)) for _ in range(_STARTS)]
    return max(statistics.median(mine - without for mine, without in pairs), 1e-4)


async def _start(engine: engines.Engine, tree: Path | None = None) -> float:
    """Run something that looks at its dataset, if any; return the seconds until its end is known."""
    mounts = ()
    if tree is not None:
        place = StorePath(str(tree.relative_to(engine.store)))
        mounts = (Mount(source=place, target="/kqi/input", access=Access.READ_ONLY),)
    begin = time.perf_counter()
    name = await engine.run("ls $KQI_ROOT/input/training/0" if tree else "ls /", mounts=mounts)
    seen = await engine.ended(name)
    took = time.perf_counter() - begin
    assert seen.exit_code == 0, await engine.output(name)
    await engine.backend.forget(name)
    return took


def _copy_loop(tree: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for folder, _, files in os.walk(tree):
        place = target / Path(folder).relative_to(tree)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(Path(folder, name), place / name)


def _names(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
