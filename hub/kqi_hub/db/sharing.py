"""What is shared across tenants: one thing with a person, or with everybody in a tenant, to read or to change."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey, Index, Select, false, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.db.base import Base, Words

READ, WRITE = "read", "write"


class ShareRow(Base):
    """A thing (`kind` and `object_id`) of tenant `tenant_id` is seen by a person, or by the people of a tenant."""

    __tablename__ = "shares"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(Words(16))
    object_id: Mapped[int]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    group_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), index=True)
    access: Mapped[str] = mapped_column(Words(8))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"))
    created_at: Mapped[datetime]
    __table_args__ = (Index("ix_shares_object", "kind", "object_id"),)


_shares = ShareRow.__table__
# What belongs to a thing is seen with it: from the ids of things of a kind to the ids of those of another.
_through: dict[str, list[tuple[str, Callable[[Select[tuple[int]]], Select[tuple[int]]]]]] = {}


def seen_with(kind: str, of: str, ids: Callable[[Select[tuple[int]]], Select[tuple[int]]]) -> None:
    """Say that who sees things of the kind `of` sees those of `kind` that `ids` finds by theirs."""
    _through.setdefault(kind, []).append((of, ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """With whom a thing may have been shared. `person` None: only what the tenants have, as for a narrow token."""

    person: int | None
    groups: frozenset[int]

    def sees(self, kind: str, column: ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition that the thing, whose id is in `column`, is shared, or belongs to one that is."""
        found = [column.in_(self.ids(kind))]
        found += [column.in_(ids(self.ids(of))) for of, ids in _through.get(kind, [])]
        return or_(*found)

    def ids(self, kind: str, *, access: str | None = None) -> Select[tuple[int]]:
        to_groups = _shares.c.group_id.in_(sorted(self.groups)) if self.groups else false()
        mine = to_groups if self.person is None else or_(_shares.c.person_id == self.person, to_groups)
        query = select(_shares.c.object_id).where(_shares.c.kind == kind, mine)
        return query if access is None else query.where(_shares.c.access == access)
