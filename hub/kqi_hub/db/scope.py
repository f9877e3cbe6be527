"""Scopes: no query of a tenant's things without saying which tenants."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import Executable, Select
from sqlalchemy.engine import Result
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_loader_criteria

from kqi_hub.db.base import Base, TenantOwned

Row = TypeVar("Row")


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
        self.session.add_all(rows)
        await self.session.flush()

    async def delete(self, row: Base) -> None:
        await self.session.delete(row)
        await self.session.flush()

    async def flush(self) -> None:
        await self.session.flush()


class TenantScope(Scope):
    """A transaction on behalf of a person: only rows of `tenants` exist in it; new ones go to `tenant`."""

    def __init__(self, session: AsyncSession, *, person: int, tenants: Collection[int], tenant: int) -> None:
        super().__init__(session)
        self.person = person
        self.tenants = frozenset(tenants)
        self.tenant = tenant

    def _narrowed(self, statement: Executable) -> Executable:
        tenants = sorted(self.tenants)
        return statement.options(
            with_loader_criteria(TenantOwned, lambda row: row.tenant_id.in_(tenants), include_aliases=True)
        )

    async def add(self, *rows: Base) -> None:
        for row in rows:
            if isinstance(row, TenantOwned) and row.tenant_id not in self.tenants:
                raise AssertionError("a row for a tenant outside of the scope")
        await super().add(*rows)
