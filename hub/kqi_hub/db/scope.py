"""Scopes: no query of a tenant's things without saying which tenants."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Executable, Select, delete, or_
from sqlalchemy.engine import Result
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_loader_criteria

from kqi_hub.db.base import Base, TenantOwned
from kqi_hub.db.sharing import WRITE, Recipient, ShareRow
from kqi_hub.errors import Conflict, Forbidden

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a request came: from which network address, with which token if any."""

    address: str = ""
    token: int | None = None


class Scope:
    """A transaction that sees everything: for the platform's own loops, never for a request."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def _narrowed(self, statement: Executable) -> Executable:
        return statement

    async def execute(self, statement: Executable) -> Result[*tuple[Any, ...]]:
        return await self.session.execute(self._narrowed(statement))

    async def all(self, statement: Select[Row]) -> Sequence[Row]:
        return (await self.execute(statement)).scalars().all()

    async def one_or_none(self, statement: Select[Row]) -> Row | None:
        return (await self.execute(statement)).scalars().one_or_none()

    async def scalar(self, statement: Executable) -> Any:
        return (await self.execute(statement)).scalar()

    async def add(self, *rows: Base) -> None:
        """Insert rows now, so that their ids are known."""
        self.put(*rows)
        await self.session.flush()

    def put(self, *rows: Base) -> None:
        """Insert rows with whatever is asked next: their ids are not needed, and one turn is enough for many."""
        self.session.add_all(rows)

    async def delete(self, row: Base) -> None:
        """Delete it, and with it the shares of it: its number may come again."""
        if isinstance(row, TenantOwned) and row.shared_as is not None:
            kind, column = row.shared_as
            if column in {key.key for key in row.__table__.primary_key}:  # the thing itself, not a part of it
                of_it = (ShareRow.kind == kind) & (ShareRow.object_id == getattr(row, column))
                await self.session.execute(delete(ShareRow).where(of_it))
        await self.session.delete(row)
        await self.session.flush()

    async def flush(self) -> None:
        await self.session.flush()


class Sees(StrEnum):
    """Which rows exist in a scope."""

    OWN = "own"  # those of its tenants
    ALL = "all"  # and what is shared with the person
    SHARED = "shared"  # only what is shared


class Thing(Protocol):
    """A row that somebody owns."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def created_by(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a caller may do beyond looking: in which tenants they change what is theirs, and what everybody's."""

    own: frozenset[int]
    whole: frozenset[int]
    archived: frozenset[int] = frozenset()
    recipient: Recipient


class TenantScope(Scope):
    """A transaction on behalf of a person: only rows of `tenants` exist in it; new ones go to `tenant`.

    Without `reach` nothing is shared, and everything in its tenants may be changed.
    """

    def __init__(
        self,
        session: AsyncSession,
        *,
        person: int,
        tenants: Collection[int],
        tenant: int,
        origin: Origin = Origin(),
        reach: Reach | None = None,
    ) -> None:
        super().__init__(session)
        self.origin = origin
        self.person = person
        self.tenants = frozenset(tenants)
        self.tenant = tenant
        recipient = Recipient(person=None, groups=frozenset())
        self.reach = reach or Reach(own=self.tenants, whole=self.tenants, recipient=recipient)
        self.sees = Sees.OWN
        self._may_fill = set(self.reach.own)

    def within(self, tenant: int) -> "TenantScope":
        """Return the same person's view of this one tenant."""
        found = self._like(Sees.OWN)
        found.tenants, found.tenant = frozenset([tenant]), tenant
        return found

    def with_shared(self) -> "TenantScope":
        """Return the same view with all in it that is shared with the person."""
        return self._like(Sees.ALL)

    def only_shared(self) -> "TenantScope":
        return self._like(Sees.SHARED)

    async def check_change(self, row: Thing, kind: str, key: int, shown: str) -> None:
        """Raise Forbidden unless the person may change `row`, the `kind` with id `key`, or Conflict if nobody may.

        `shown` is what people call it.
        """
        if not self._owns(row) and not await self._shared_to_change(kind, key):
            raise Forbidden("not_owner", tenant=row.tenant_id, thing=shown)
        self._may_fill.add(row.tenant_id)

    def check_owner(self, row: Thing, shown: str) -> None:
        """Raise Forbidden unless the thing is the person's, or they may change everybody's in its tenant."""
        if not self._owns(row):
            raise Forbidden("not_owner", tenant=row.tenant_id, thing=shown)

    def _owns(self, row: Thing) -> bool:
        if row.tenant_id in self.reach.archived:
            raise Conflict("tenant_archived")
        mine = row.tenant_id in self.reach.own and row.created_by == self.person
        return mine or row.tenant_id in self.reach.whole

    def put(self, *rows: Base) -> None:
        for row in rows:
            if isinstance(row, TenantOwned) and row.tenant_id not in self._may_fill:
                raise AssertionError("a row for a tenant outside of the scope")
        super().put(*rows)

    def _like(self, sees: Sees) -> "TenantScope":
        found = TenantScope(
            self.session,
            person=self.person,
            tenants=self.tenants,
            tenant=self.tenant,
            origin=self.origin,
            reach=self.reach,
        )
        found.sees, found._may_fill = sees, self._may_fill
        return found

    def _narrowed(self, statement: Executable) -> Executable:
        tenants = sorted(self.tenants)
        if self.sees is Sees.OWN:
            return statement.options(
                with_loader_criteria(TenantOwned, lambda row: row.tenant_id.in_(tenants), include_aliases=True)
            )
        criteria = [(kind, self._condition(kind, tenants)) for kind in TenantOwned.__subclasses__()]
        return statement.options(*(with_loader_criteria(*pair, include_aliases=True) for pair in criteria))

    def _condition(self, kind: type[TenantOwned], tenants: Sequence[int]) -> ColumnElement[bool]:
        own = kind.tenant_id.in_(tenants)
        if kind.shared_as is None:
            return own
        shared = self.reach.recipient.sees(kind.shared_as[0], getattr(kind, kind.shared_as[1]))
        return shared if self.sees is Sees.SHARED else or_(own, shared)

    async def _shared_to_change(self, kind: str, key: int) -> bool:
        open_tenants = Base.metadata.tables["tenants"]
        query = self.reach.recipient.ids(kind, access=WRITE).where(ShareRow.object_id == key)
        query = query.join(open_tenants, open_tenants.c.id == ShareRow.tenant_id)
        return (await self.session.execute(query.where(open_tenants.c.archived_at.is_(None)))).first() is not None
