"""Lay a dataset version out as a tree of hard links: once, in the background, never per run."""

import asyncio
import errno
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from kqi_hub.background.loop import Loop
from kqi_hub.data.store import find as find_data
from kqi_hub.datasets import store
from kqi_hub.datasets.layout import META, Placed, meta
from kqi_hub.datasets.model import Layout
from kqi_hub.datasets.store import VersionRow
from kqi_hub.db.base import kept
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import Scope
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store

log = logging.getLogger(__name__)
# What a file system says when a further hard link is not to be had.
_NO_LINK = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP}


class LayoutLoop(Loop):
    """The loop that lays out dataset versions; a save wakes it."""


@dataclass(slots=True, kw_only=True)
class Trees:
    """`ready` is called after a version has become ready or failed, so that runs that wait for it go on."""

    database: Database
    files: Store
    blobs: Blobs
    ready: Callable[[], None] = field(default=lambda: None)

    async def lay_out_pending(self) -> None:
        """Lay out every version that waits for it; one that fails says why and does not hold up the others."""
        async with self.database.read() as session:
            keys = await store.pending(Scope(session))
        for key in keys:
            await self._lay_out(key)

    async def _lay_out(self, key: int) -> None:
        async with self.database.read() as session:
            scope = Scope(session)
            row = await scope.one_or_none(select(VersionRow).where(VersionRow.id == key))
            if row is None:
                return
            version = store.to_version(row)
            placed = await store.placed_files(scope, version)
            dataset = (await store.find(scope, [version.dataset]))[0]
            ids = sorted({data for held in version.entries.values() for data in held})
            names = {data.id: (data.name, data.tags) for data in await find_data(scope, ids)}
        target = self.files.path(version.place)
        splits = [] if version.flat else list(version.entries)
        try:
            text = meta(dataset, version, names)
            await asyncio.to_thread(lay_out, target, placed, splits, text, self.blobs)
            state, message = Layout.READY, ""
        except OSError as error:
            log.error(
                "dataset not laid out", extra={"dataset": version.dataset, "version": version.number}, exc_info=error
            )
            state, message = Layout.FAILED, error.strerror or str(error)
        async with self.database.write() as session:
            found = await session.get(VersionRow, key)
            if found is not None:
                found.state, found.message = state.value, kept(message)
        self.ready()


def lay_out(target: Path, placed: Sequence[Placed], splits: Sequence[str], description: str, blobs: Blobs) -> None:
    """Make the tree at `target`, whole or not at all: it is built beside it and renamed.

    A tree of exactly these files that stands already stays: a crash, or the loss of the lease, came between its rename
    and the record of it, and it may be in use. Each attempt builds at a place of its own.
    """
    if _stands(target, placed, description, blobs):
        return
    building = target.with_name(f".{target.name}.{secrets.token_hex(4)}.building")
    building.mkdir(parents=True)
    for split in splits:
        (building / split).mkdir()
    (building / META).write_text(description, "utf-8")
    _link_all(building, placed, blobs)
    if _stands(target, placed, description, blobs):
        shutil.rmtree(building)
        return
    if target.exists():
        # For the sweep: a notebook may have it in its view.
        target.rename(building.with_suffix(".replaced"))
    os.replace(building, target)


def _stands(target: Path, placed: Sequence[Placed], description: str, blobs: Blobs) -> bool:
    """Return whether the tree is there, each file being the content that it should be."""
    try:
        same = (target / META).read_text("utf-8") == description
        return same and all(os.path.samefile(blobs.path(file.sha256), target / file.path) for file in placed)
    except OSError:
        return False


def _link_all(root: Path, placed: Sequence[Placed], blobs: Blobs) -> None:
    made: set[str] = set()
    base = str(root)
    for file in placed:
        folder = file.path.rsplit("/", 1)[0]
        if folder not in made:
            os.makedirs(f"{base}/{folder}", exist_ok=True)
            made.add(folder)
        _link(str(blobs.path(file.sha256)), f"{base}/{file.path}")


def _link(blob: str, target: str) -> None:
    try:
        os.link(blob, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(blob, target)
        os.chmod(target, 0o444)
