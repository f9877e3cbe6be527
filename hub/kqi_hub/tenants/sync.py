"""Mappings of the directory's groups, and one sync of all its people with a look at it beforehand."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.db.engine import Database
from kqi_hub.directory import apply
from kqi_hub.directory.base import Directory, Entry
from kqi_hub.directory.mapping import Change, Kind, changes, parts
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import LOCAL, MappingRow, PersonRow, TenantRow
from kqi_hub.tenants import members, roles, store

# Questions to the directory at once.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a sync changes: pairs of a person's name and a change. `gone` are people who may no longer sign in."""

    people: int
    changes: Sequence[tuple[str, Change]]
    gone: Sequence[str]

    @property
    def digest(self) -> str:
        said = [[name, change.tenant, change.before, change.after] for name, change in self.changes]
        return hashlib.sha256(json.dumps([said, list(self.gone)]).encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Sync:
    database: Database
    directory: Directory
    _asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def ask(self) -> dict[str, Entry | None]:
        """Ask the directory about everybody who came from one; needs no transaction. Raises Unavailable."""
        async with self.database.read() as session:
            query = select(PersonRow.name).where(PersonRow.source != LOCAL).order_by(PersonRow.name)
            names = list(await session.scalars(query))
        entries = await asyncio.gather(*(self._look_up(name) for name in names))
        return dict(zip(names, entries, strict=True))

    async def _look_up(self, name: str) -> Entry | None:
        async with self._asking:
            return await self.directory.look_up(name)


async def difference(session: AsyncSession, entries: dict[str, Entry | None]) -> Difference:
    by, strongest = await apply.rules(session), await apply.strength(session)
    found: list[tuple[str, Change]] = []
    for name, entry in entries.items():
        person = await people.person_named(session, name)
        if person is not None:
            after = apply.wanted(entry, by, strongest)
            found += [(name, change) for change in changes(await apply.held(session, person), after)]
    return Difference(people=len(entries), changes=found, gone=[name for name, entry in entries.items() if not entry])


async def carry_out(act: Act, entries: dict[str, Entry | None], digest: str, default: str) -> Difference:
    """Do exactly what was shown. Raises Conflict if that is no longer what would change."""
    shown = await difference(act.session, entries)
    if shown.digest != digest:
        raise Conflict("preview_outdated")
    by, strongest = await apply.rules(act.session), await apply.strength(act.session)
    home = await people.ensure_tenant(act.session, default, default)
    for name in dict.fromkeys(name for name, _ in shown.changes):
        person = await people.person_named(act.session, name)
        if person is not None:
            after = apply.wanted(entries[name], by, strongest)
            if await apply.leaves_nobody(act.session, person, after):
                raise Conflict("last_administrator", name=name)
            done = await apply.bring_up_to_date(act.session, person, after)
            for change in done:
                if change.tenant is not None and change.after is None:
                    await store.settle(act.session, person.id, change.tenant, home)
    await act.note("directory.sync", "directory", people=shown.people, changes=len(shown.changes))
    return shown


async def mappings(session: AsyncSession) -> Sequence[tuple[MappingRow, str | None]]:
    """Return mappings with the names of their tenants."""
    query = select(MappingRow, TenantRow.name).outerjoin(TenantRow, TenantRow.id == MappingRow.tenant_id)
    return [(row, name) for row, name in await session.execute(query.order_by(MappingRow.id))]


async def add(act: Act, *, kind: Kind, value: str, tenant: str | None, role: str) -> MappingRow:
    """Map a group or unit to a role. Raises Forbidden for who could not give that role to a person, Invalid."""
    unit = kind in {Kind.UNIT_DIRECT, Kind.UNIT_INDIRECT}
    if unit and not all("=" in part for part in parts(value)):
        raise Invalid("mapping_not_a_dn", value=value[:200])
    target: TenantRow | None = None
    if tenant is None:
        given = (await roles.platform_role(act, role)).name
    else:
        roles.check_not_beyond({Permission.TENANTS_MANAGE}, act.person)
        target = await people.tenant_named(act.session, tenant)
        if target is None:
            raise Invalid("tenant_unknown", name=tenant)
        given = (await members.tenant_role(act.session, role)).name
    row = MappingRow(kind=kind.value, value=value, tenant_id=target.id if target else None, role=given)
    act.session.add(row)
    await act.session.flush()
    await act.note("mapping.add", f"mapping/{row.id}", kind=kind.value, value=value, to=tenant, role=given)
    return row


async def remove(act: Act, mapping: int) -> None:
    row = await act.session.get(MappingRow, mapping)
    if row is None:
        raise NotFound("mapping", mapping)
    await act.session.delete(row)
    await act.note("mapping.remove", f"mapping/{mapping}", kind=row.kind, value=row.value, role=row.role)
