"""Remove trees of dataset versions that are gone, and what a crash left half-made."""

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from kqi_hub.datasets.model import Layout
from kqi_hub.datasets.store import DatasetRow, VersionRow
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.storage.store import Store, remove_tree

_TREE = re.compile(r"(\.)?([1-9][0-9]*)(?(1)(?:\.[0-9a-f]+)?\.(building|replaced))")
_GONE = ".gone-"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Tree:
    path: Path
    dataset: int
    number: int
    aside: str | None  # `building` or `replaced`; None: a whole tree in its place


@dataclass(slots=True, kw_only=True)
class TreeSweep:
    """`at_work` returns the (dataset, version) that runs at work have in their view: those stay to their end."""

    database: Database
    files: Store
    at_work: Callable[[Scope], Awaitable[set[tuple[int, int]]]]

    async def one_pass(self) -> None:
        root = self.files.root / "datasets"
        datasets = await asyncio.to_thread(_numbered, root)
        for start in range(0, len(datasets), _AT_ONCE):
            await self._look_at(root, datasets[start : start + _AT_ONCE])
        await asyncio.to_thread(_remove_gone, root)

    async def _look_at(self, root: Path, datasets: Sequence[int]) -> None:
        async with self.database.read() as session:
            dead = await self._dead(Scope(session), root, datasets)
        if not dead:
            return
        # No version is saved while this transaction lasts, so none can be laid out at a place that is cleared.
        async with self.database.write() as session:
            scope = Scope(session)
            for path in await self._dead(scope, root, datasets):
                await asyncio.to_thread(_clear, path, root)

    async def _dead(self, scope: Scope, root: Path, datasets: Sequence[int]) -> list[Path]:
        """Return trees that nobody will use, and then folders of datasets that are gone."""
        known = set(await scope.all(select(DatasetRow.id).where(DatasetRow.id.in_(datasets))))
        versions = select(VersionRow.dataset_id, VersionRow.number, VersionRow.state)
        rows = (await scope.execute(versions.where(VersionRow.dataset_id.in_(datasets)))).all()
        states = {(dataset, number): state for dataset, number, state in rows}
        at_work = await self.at_work(scope)
        trees = await asyncio.to_thread(_trees, root, datasets)
        dead = [tree.path for tree in trees if _is_dead(tree, states, at_work)]
        return [*dead, *(root / str(dataset) for dataset in datasets if dataset not in known)]


def _is_dead(tree: _Tree, states: dict[tuple[int, int], str], at_work: set[tuple[int, int]]) -> bool:
    key = (tree.dataset, tree.number)
    if tree.aside == "building":
        return states.get(key) != Layout.PENDING
    return key not in at_work and (tree.aside is not None or key not in states)


def _numbered(root: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(root) if name.isascii() and name.isdigit())


def _trees(root: Path, datasets: Sequence[int]) -> list[_Tree]:
    found = []
    for dataset in datasets:
        with suppress(FileNotFoundError):
            for name in os.listdir(root / str(dataset)):
                parts = _TREE.fullmatch(name)
                if parts:
                    found.append(_Tree(root / str(dataset) / name, dataset, int(parts[2]), parts[3]))
    return found


def _clear(path: Path, root: Path) -> None:
    """Take a tree out of sight at once, or remove the folder of a dataset once it is empty."""
    if path.parent == root:
        with suppress(OSError):
            path.rmdir()
        return
    with suppress(FileNotFoundError):
        os.rename(path, root / f"{_GONE}{secrets.token_hex(8)}")


def _remove_gone(root: Path) -> None:
    for name in os.listdir(root):
        if name.startswith(_GONE):
            remove_tree(root / name)
