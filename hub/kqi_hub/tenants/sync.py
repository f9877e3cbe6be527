"""Mappings of the directory's groups, and one sync of all its people with a look at it beforehand."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.act import Act
from kqi_hub.db.engine import Database
from kqi_hub.directory import apply
from kqi_hub.directory.base import Directory, Entry, Unanswered
from kqi_hub.directory.ldap.words import is_name
from kqi_hub.directory.mapping import Change, Kind, changes
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.policy import Permission
from kqi_hub.identity.rows import LOCAL, MappingRow, PersonRow, TenantRow
from kqi_hub.tenants import members, roles, store

log = logging.getLogger(__name__)
# Questions to the directory at once.
_AT_ONCE = 8
# What the directory says of people, by their name here; who could not be asked for is not in it.
Entries = Mapping[str, Entry | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a sync changes: pairs of a person's name and a change. `gone` are people who may no longer sign in.

    Whose name is another person's by now is gone as well.
    """

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

    async def ask(self) -> Entries:
        """Ask the directory about everybody who came from one; needs no transaction. Raises Unavailable.

        Whom it cannot be asked about is left out, and nothing of theirs changes.
        """
        async with self.database.read() as session:
            query = select(PersonRow.name).where(PersonRow.source != LOCAL).order_by(PersonRow.name)
            names = list(await session.scalars(query))
        found: dict[str, Entry | None] = {}

        async def ask_about(name: str) -> None:
            try:
                async with self._asking:
                    found[name] = await self.directory.look_up(name)
            except Unanswered as error:
                log.warning("somebody is left out of a sync", extra={"person": name, "code": error.code})

        await asyncio.gather(*(ask_about(name) for name in names))
        return found


async def difference(session: AsyncSession, entries: Entries) -> Difference:
    """Return what would change; as many questions to the database for one as for many."""
    by, strongest = await apply.rules(session), await apply.strength(session)
    held = await apply.held_by_all(session)
    found: list[tuple[str, Change]] = []
    gone: list[str] = []
    known = select(PersonRow.id, PersonRow.name, PersonRow.directory_id).where(PersonRow.source != LOCAL)
    for number, name, directory_id in await session.execute(known.order_by(PersonRow.name)):
        if name in entries:
            entry = _same(entries[name], directory_id)
            found += [(name, change) for change in changes(held[number], apply.wanted(entry, by, strongest))]
            gone += [] if entry else [name]
    return Difference(people=len(entries), changes=found, gone=gone)


def _same(entry: Entry | None, directory_id: str | None) -> Entry | None:
    """Return the entry if it is that of the person whom we know: names are given anew, ids are not."""
    return entry if entry is not None and entry.directory_id == directory_id else None


async def carry_out(act: Act, entries: Entries, digest: str, default: str) -> Difference:
    """Do exactly what was shown. Raises Conflict if that is no longer what would change."""
    shown = await difference(act.session, entries)
    if shown.digest != digest:
        raise Conflict("preview_outdated")
    by, strongest = await apply.rules(act.session), await apply.strength(act.session)
    home = await people.ensure_tenant(act.session, default, default)
    for name in dict.fromkeys(name for name, _ in shown.changes):
        person = await people.person_named(act.session, name)
        if person is not None:
            after = apply.wanted(_same(entries[name], person.directory_id), by, strongest)
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
    if unit and not is_name(value):
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
