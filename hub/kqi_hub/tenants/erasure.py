"""Erase an archived tenant with all its data: step by step, each in one transaction, so that it goes on after a crash.

Rows go first, and in the same transaction their folders are noted; then the folders go. Contents that no data names any
more go with the next sweep.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub import crash
from kqi_hub.audit import log as audit
from kqi_hub.audit.act import Act
from kqi_hub.background.loop import each
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.db.sharing import ShareRow
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import MappingRow, MembershipRow, PersonRow, TenantRow, TokenRow
from kqi_hub.storage.store import Store
from kqi_hub.tenants import access, store
from kqi_hub.tenants.rows import ErasureRow, JoinRequestRow, TenantServerRow
from kqi_hub.tenants.service import TenantService
from kqi_spawner.workload import StorePath

_MEMBERS = 200
_NAMED_BY_TENANT = (MappingRow, JoinRequestRow, TenantServerRow, TokenRow, ShareRow)


@dataclass(slots=True)
class Removed:
    """What a step has taken away: how many of each kind, and the folders that are to go once it is committed."""

    counts: dict[str, int] = field(default_factory=dict)
    folders: list[StorePath] = field(default_factory=list)
    measured_as: str = ""  # under which name the bytes of the folders are counted; empty: they are not

    def __bool__(self) -> bool:
        return bool(self.counts)


# Removes some of a tenant's things of a kind; nothing when there are none left.
Step = Callable[[AsyncSession, int], Awaitable[Removed]]


async def begin(act: Act, tenants: TenantService, name: str, typed: str) -> ErasureRow:
    """Record that the tenant is to be erased; it cannot be taken back. Idempotent while it goes on."""
    tenant = await access.governed(act, name, Permission.TENANTS_MANAGE, archived=True)
    if typed != tenant.name:
        raise Invalid("erase_name_differs", name=tenant.name)
    tenants.check_not_default(tenant)
    if tenant.archived_at is None:
        raise Conflict("erase_not_archived", name=tenant.name)
    await tenants.check_idle(act.session, tenant)
    going = select(ErasureRow).where(ErasureRow.tenant_id == tenant.id, ErasureRow.finished_at.is_(None))
    row = (await act.session.scalars(going)).one_or_none()
    if row is None:
        row = ErasureRow(tenant_id=tenant.id, tenant=tenant.name, asked_by=act.person.person, asked_at=now())
        row.counts, row.leftovers = "{}", "[]"
        act.session.add(row)
        await act.session.flush()
        await act.note("tenant.erase", f"tenant/{tenant.name}", tenant=tenant.id)
    return row


async def page(session: AsyncSession, *, before: int | None, limit: int) -> Sequence[ErasureRow]:
    query = select(ErasureRow).order_by(ErasureRow.id.desc()).limit(limit)
    return (await session.scalars(query if before is None else query.where(ErasureRow.id < before))).all()


async def one(session: AsyncSession, erasure: int) -> ErasureRow:
    row = await session.get(ErasureRow, erasure)
    if row is None:
        raise NotFound("erasure", erasure)
    return row


@dataclass(slots=True, kw_only=True)
class Eraser:
    """`steps` are taken in this order, each again and again until it finds nothing more."""

    database: Database
    files: Store
    steps: Sequence[Step]
    default: str
    wake: Callable[[], None] = lambda: None  # lets the loop that does the passes begin one

    async def one_pass(self) -> None:
        """Go on with every erasure; one that fails keeps no other waiting."""
        async with self.database.read() as session:
            query = select(ErasureRow.id).where(ErasureRow.finished_at.is_(None)).order_by(ErasureRow.id)
            waiting = list(await session.scalars(query))
        await each([partial(self._erase, erasure) for erasure in waiting])

    async def _erase(self, erasure: int) -> None:
        await self._remove_folders(erasure)  # of a step after which the process ended
        for step in (*self.steps, self._members):
            while await self._take(erasure, step):
                await self._remove_folders(erasure)
        async with self.database.write() as session:
            await self._finish(session, await session.get_one(ErasureRow, erasure))

    async def _take(self, erasure: int, step: Step) -> bool:
        async with self.database.write() as session:
            row = await session.get_one(ErasureRow, erasure)
            removed = await step(session, row.tenant_id)
            row.counts = json.dumps(_sum(json.loads(row.counts), removed.counts))
            row.leftovers = json.dumps([[folder.text, removed.measured_as, None] for folder in removed.folders])
        if removed:
            crash.point("erased")
        return bool(removed)

    async def _remove_folders(self, erasure: int) -> None:
        """Measure, note what was measured, and only then remove: what is counted is counted once."""
        async with self.database.read() as session:
            leftovers: list[tuple[str, str, int | None]] = json.loads(
                (await session.get_one(ErasureRow, erasure)).leftovers
            )
        if not leftovers:
            return
        measured = [(place, name, await self._size(place, name, size)) for place, name, size in leftovers]
        async with self.database.write() as session:
            (await session.get_one(ErasureRow, erasure)).leftovers = json.dumps(measured)
        for place, _, _ in measured:
            await asyncio.to_thread(self.files.remove, StorePath(place))
        crash.point("folders_erased")
        async with self.database.write() as session:
            row = await session.get_one(ErasureRow, erasure)
            counts = json.loads(row.counts)
            for _, name, size in measured:
                counts = _sum(counts, {name: size} if name else {})
            row.counts, row.leftovers = json.dumps(counts), "[]"

    async def _size(self, place: str, name: str, known: int | None) -> int:
        if known is not None or not name:
            return known or 0
        return await asyncio.to_thread(self.files.size, StorePath(place))

    async def _members(self, session: AsyncSession, tenant: int) -> Removed:
        """Let people go; those who are then in none are in the default one, and begin there."""
        default = await people.ensure_tenant(session, self.default, self.default)
        query = select(MembershipRow).where(MembershipRow.tenant_id == tenant).limit(_MEMBERS)
        rows = (await session.scalars(query)).all()
        for row in rows:
            await session.delete(row)
            await session.flush()
            await store.settle(session, row.person_id, tenant, default)
        return Removed({"members": len(rows)} if rows else {})

    async def _finish(self, session: AsyncSession, erasure: ErasureRow) -> None:
        tenant = await session.get(TenantRow, erasure.tenant_id)
        if tenant is not None:
            default = await people.ensure_tenant(session, self.default, self.default)
            begins = update(PersonRow).where(PersonRow.default_tenant_id == tenant.id)
            await session.execute(begins.values(default_tenant_id=default.id))
            for kind in _NAMED_BY_TENANT:
                await session.execute(delete(kind).where(kind.tenant_id == tenant.id))
            await session.execute(delete(ShareRow).where(ShareRow.group_id == tenant.id))
            await session.delete(tenant)
        erasure.finished_at = now()
        said = audit.written({"name": erasure.tenant, **json.loads(erasure.counts)})
        entry = audit.Entry(action="tenant.erased", thing=f"tenant/{erasure.tenant}", details=said)
        await audit.append(session, entry)


def _sum(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {kind: before.get(kind, 0) + more.get(kind, 0) for kind in {**before, **more}}
