"""Folders of runs that are deleted: taken out of sight at once, removed in the background, however much is in them."""

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import select

from kqi_hub.background.loop import each
from kqi_hub.db.engine import Database
from kqi_hub.runs.model import Kind, Run, folder
from kqi_hub.runs.rows import RunRow
from kqi_hub.storage.store import Store, remove_tree


def set_aside(files: Store, run: Run) -> None:
    """Take the folder of a run out of sight, in the transaction that deletes it. One that has none is fine."""
    _aside(files).mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        os.rename(files.path(run.folder), _aside(files) / f"{run.kind.value}-{run.number}")


@dataclass(slots=True, kw_only=True)
class GoneFolders:
    """Removes what was set aside; where the transaction came to nothing, the folder is put back."""

    database: Database
    files: Store

    async def one_pass(self) -> None:
        paths = await asyncio.to_thread(_listed, _aside(self.files))
        await each([partial(self._remove, path) for path in paths])

    async def _remove(self, path: Path) -> None:
        kind, number = path.name.split("-")
        of_it = (RunRow.kind == kind) & (RunRow.number == int(number))
        # Writers are serial: whoever has set it aside has committed by now, or never will.
        async with self.database.write() as session:
            if await session.scalar(select(RunRow.key).where(of_it)) is not None:
                os.rename(path, self.files.path(folder(Kind(kind), int(number))))
                return
        await asyncio.to_thread(remove_tree, path)


def _aside(files: Store) -> Path:
    return files.root / "runs" / ".gone"


def _listed(aside: Path) -> list[Path]:
    return sorted(aside.iterdir()) if aside.exists() else []
