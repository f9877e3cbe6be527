"""The audit log: who did what to which thing, from where, and what was refused. A chain of hashes over its entries.

Writers of the database come one after the other, so the entry before is the last one committed. The database itself
lets no entry be changed, and none be removed but those that were let go of by the rule of retention.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Index, ScalarSelect, insert, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words, kept
from kqi_hub.db.scope import TenantScope
from kqi_hub.identity.rows import PersonRow, TenantRow

_ADDRESS, _OBJECT, _NAME = 64, 128, 64
_NEWEST, _PERSON, _TENANT = range(3)  # what a line of the answer is about


class AuditRow(Base):
    """`person` and `tenant` are names as they were, for who reads it when both are gone."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    person_id: Mapped[int | None]
    person: Mapped[str] = mapped_column(Words(_NAME), default="")
    tenant_id: Mapped[int | None] = mapped_column(index=True)
    tenant: Mapped[str] = mapped_column(Words(63), default="")
    token_id: Mapped[int | None]
    address: Mapped[str] = mapped_column(Words(_ADDRESS), default="")
    action: Mapped[str] = mapped_column(Words(64))
    object: Mapped[str] = mapped_column(Words(_OBJECT))
    refused: Mapped[str] = mapped_column(Words(64), default="")  # code of the error; empty: it was done
    details: Mapped[str]  # JSON; never a secret
    hash: Mapped[str] = mapped_column(Words(64), default="")
    __table_args__ = (
        Index("ix_audit_person", "person", "id"),
        Index("ix_audit_object", "object", "id"),
        Index("ix_audit_action", "action", "id"),
    )


class Said(Protocol):
    """What the hash of an entry is made of, as it is in the table."""

    id: Any
    at: Any
    person_id: Any
    person: Any
    tenant_id: Any
    tenant: Any
    token_id: Any
    address: Any
    action: Any
    object: Any
    refused: Any
    details: Any


_SAID = (
    *("id", "at", "person_id", "person", "tenant_id", "tenant", "token_id"),
    *("address", "action", "object", "refused", "details"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`thing` is what it was done to, as `training/42`."""

    action: str
    thing: str
    person: int | None = None
    name: str = ""  # where there is no such person, as it was typed
    tenant: int | None = None
    token: int | None = None
    address: str = ""
    refused: str = ""
    details: str = "{}"


async def record(scope: TenantScope, tenant: int, action: str, thing: str, /, **details: object) -> None:
    """Note that the person of `scope` did `action` to `thing` of `tenant`, in the transaction that does it."""
    entry = Entry(
        action=action,
        thing=thing,
        person=scope.person,
        tenant=tenant,
        token=scope.origin.token,
        address=scope.origin.address,
        details=written(details),
    )
    await append(scope.session, entry)


async def append(session: AsyncSession, *entries: Entry) -> None:
    """Add entries to the chain; within a transaction that writes. One select and one insert, whatever the length."""
    people, tenants = {entry.person for entry in entries}, {entry.tenant for entry in entries}
    newest = select(_newest(AuditRow.id), _newest(AuditRow.hash), literal(_NEWEST))
    asked = union_all(newest, _names(PersonRow, people, of=_PERSON), _names(TenantRow, tenants, of=_TENANT))
    found = (await session.execute(asked)).all()
    number, before = next((key, said) for key, said, of in found if of == _NEWEST)
    names = {(of, key): said for key, said, of in found}
    rows = []
    for entry in entries:
        number = (number or 0) + 1
        person = names.get((_PERSON, entry.person))
        row = {
            "id": number,
            "at": now(),
            "person_id": entry.person,
            "person": kept(person or entry.name)[:_NAME],
            "tenant_id": entry.tenant,
            "tenant": names.get((_TENANT, entry.tenant), ""),
            "token_id": entry.token,
            "address": entry.address[:_ADDRESS],
            "action": entry.action,
            "object": kept(entry.thing)[:_OBJECT],
            "refused": entry.refused,
            "details": entry.details,
        }
        before = _linked(before or "", row.values())
        rows.append({**row, "hash": before})
    await session.execute(insert(AuditRow), rows)


def link(before: str, row: Said) -> str:
    """Return the hash that makes `row` the next after the entry whose hash is `before`."""
    return _linked(before, (getattr(row, name) for name in _SAID))


def written(details: dict[str, object]) -> str:
    return kept(json.dumps(details, ensure_ascii=False, default=str))


def _linked(before: str, values: Iterable[Any]) -> str:
    said = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return hashlib.sha256((before + json.dumps(said, ensure_ascii=False)).encode("utf-8", "replace")).hexdigest()


def _newest(column: Any) -> ScalarSelect[Any]:
    return select(column).order_by(AuditRow.id.desc()).limit(1).scalar_subquery()


def _names(kind: type[PersonRow] | type[TenantRow], ids: Collection[int | None], *, of: int) -> Any:
    return select(kind.id, kind.name, literal(of)).where(kind.id.in_(sorted(number for number in ids if number)))
