"""What a person owns: counted, given to another owner, or deleted. Every step may be repeated."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.data.service import DataService
from kqi_hub.data.store import DataRow
from kqi_hub.datasets.service import DatasetService
from kqi_hub.datasets.store import DatasetRow
from kqi_hub.db.engine import Database
from kqi_hub.db.scope import TenantScope
from kqi_hub.errors import Conflict
from kqi_hub.identity.rows import MembershipRow
from kqi_hub.runs.model import ENDED, Kind, folder
from kqi_hub.runs.rows import RunRow
from kqi_hub.runs.service import RunService
from kqi_hub.storage.store import Store, answering_disk_errors, fsync_folder, remove_tree
from kqi_spawner.workload import StorePath

_AT_ONCE = 500
_ENDED = [phase.value for phase in ENDED]
# A person's folders, by what they are called in the store.
FOLDERS = ("homes", "workspaces", "archives")
_ASIDE = "set-aside"
_Erase = Callable[[TenantScope, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """One kind of things: rows with a `created_by` and a `tenant_id`, named by `key`."""

    kind: str
    rows: type[Any]
    key: Any
    done: Any  # the condition under which they may be touched at all
    erase: _Erase


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    database: Database
    files: Store
    data: DataService
    datasets: DatasetService
    runs: RunService

    @property
    def kinds(self) -> tuple[Things, ...]:
        """In the order in which they can be deleted: runs use datasets, which hold data."""
        return (
            Things(kind="runs", rows=RunRow, key=RunRow.key, done=RunRow.phase.in_(_ENDED), erase=self._erase_run),
            Things(kind="datasets", rows=DatasetRow, key=DatasetRow.id, done=True, erase=self._erase_dataset),
            Things(kind="data", rows=DataRow, key=DataRow.id, done=True, erase=self._erase_data),
        )

    async def counts(self, session: AsyncSession, person: int) -> dict[str, int]:
        """Return how much of each kind they own."""
        found = {}
        for things in self.kinds:
            query = select(func.count()).select_from(things.rows).where(things.rows.created_by == person)
            found[things.kind] = (await session.scalar(query)) or 0
        return found

    async def at_work(self, session: AsyncSession, person: int) -> int:
        """Return how many of their runs have not ended."""
        query = select(func.count()).select_from(RunRow).where(RunRow.created_by == person)
        return (await session.scalar(query.where(RunRow.phase.not_in(_ENDED)))) or 0

    async def hand_over(self, things: Things, person: int, to: int) -> int:
        """Give what lies in tenants of the new owner to them, some at a time; return how many there were."""
        moved = 0
        while True:
            async with self.database.write() as session:
                tenants = select(MembershipRow.tenant_id).where(MembershipRow.person_id == to)
                done = await self._give(session, things, person, to, things.rows.tenant_id.in_(tenants))
            moved += done
            if not done:
                return moved

    async def give_rest(self, things: Things, person: int, to: int) -> int:
        """Give what could not be deleted to somebody, wherever it lies; return how many there were."""
        moved = 0
        while True:
            async with self.database.write() as session:
                done = await self._give(session, things, person, to, True)
            moved += done
            if not done:
                return moved

    async def erase(self, things: Things, person: int, by: int) -> int:
        """Delete what nobody else needs; return how many that were. What is left belongs to others' work."""
        # The newest first: the children of a run come after it, and it stays while there are any.
        gone, before = 0, 2**62
        while True:
            async with self.database.read() as session:
                query = select(things.key, things.rows.tenant_id).where(things.rows.created_by == person)
                query = query.where(things.key < before).order_by(things.key.desc()).limit(_AT_ONCE)
                found = (await session.execute(query)).all()
            for key, tenant in found:
                gone += await self._erase_one(things, key, (tenant, by))
                before = key
            if not found:
                return gone

    async def set_aside(self, name: str, number: int) -> list[str]:
        """Move a person's folders to where nobody's programs look; return where they are now, in the store."""
        return await asyncio.to_thread(self._set_aside, name, f"{_ASIDE}/{name}-{number}")

    async def erase_folders(self, name: str) -> list[str]:
        """Delete a person's folders; return which there were."""
        return await asyncio.to_thread(self._erase_folders, name)

    async def move_folders(self, name: str, to: str, number: int) -> list[str]:
        """Move a person's folders into another's; return where they are now, in the store."""
        return await asyncio.to_thread(self._move_folders, name, to, f"from-{name}-{number}")

    async def _give(self, session: AsyncSession, things: Things, person: int, to: int, where: Any) -> int:
        mine = select(things.key).where(things.rows.created_by == person, things.done, where).limit(_AT_ONCE)
        change = update(things.rows).where(things.key.in_(mine)).values(created_by=to)
        done = await session.execute(change.execution_options(synchronize_session=False))
        return int(done.rowcount)  # type: ignore[attr-defined]

    async def _erase_one(self, things: Things, key: int, place: tuple[int, int]) -> int:
        tenant, by = place
        try:
            async with self.database.write() as session:
                scope = TenantScope(session, person=by, tenants=[tenant], tenant=tenant)
                row = await session.get(things.rows, key)
                if row is None:
                    return 0
                await things.erase(scope, row)
        except Conflict:
            return 0  # somebody else's work stands on it
        if isinstance(row, RunRow):
            await asyncio.to_thread(self.files.remove, folder(Kind(row.kind), row.number))
        return 1

    async def _erase_run(self, scope: TenantScope, row: Any) -> None:
        await self.runs.delete(scope, Kind(row.kind), row.number)

    async def _erase_dataset(self, scope: TenantScope, row: Any) -> None:
        await self.datasets.delete(scope, row.id)

    async def _erase_data(self, scope: TenantScope, row: Any) -> None:
        await self.data.delete(scope, row.id)

    def _set_aside(self, name: str, place: str) -> list[str]:
        return self._move(name, lambda kind: (self.files.root / place, kind))

    def _move_folders(self, name: str, to: str, as_name: str) -> list[str]:
        for place in FOLDERS:
            if (self.files.root / place / name).is_dir():
                self.files.folder(StorePath(f"{place}/{to}"), mode=0o700)
        return self._move(name, lambda place: (self.files.root / place / to, as_name))

    def _move(self, name: str, where: Callable[[str], tuple[Path, str]]) -> list[str]:
        moved = []
        for place in FOLDERS:
            source = self.files.root / place / name
            parent, final = where(place)
            with answering_disk_errors():
                if source.is_symlink() or not source.is_dir():
                    if (parent / final).is_dir():  # moved before a crash
                        moved.append(str((parent / final).relative_to(self.files.root)))
                    continue
                parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _rename_into(source, parent, final)
            moved.append(str((parent / final).relative_to(self.files.root)))
        return moved

    def _erase_folders(self, name: str) -> list[str]:
        found = [place for place in FOLDERS if (self.files.root / place / name).is_dir()]
        for place in found:
            with answering_disk_errors():
                remove_tree(self.files.root / place / name)
        return [f"{place}/{name}" for place in found]


def _rename_into(source: Path, parent: Path, name: str) -> None:
    """Move a folder into one that programs of people can write to; a link that they put there is not followed."""
    opened = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.rename(source, name, dst_dir_fd=opened)
        os.fsync(opened)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise Conflict("place_taken", path=f"{parent.name}/{name}") from error
        raise
    finally:
        os.close(opened)
    fsync_folder(source.parent)


def owned(counts: dict[str, int]) -> str:
    """Return for people what is owned: `3 runs, 1 data`."""
    return ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
