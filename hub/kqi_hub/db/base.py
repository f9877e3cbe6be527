"""What every row is made of. Both engines keep the same values, and in the same order."""

import re
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, ForeignKey, Integer, MetaData, String, TypeDecorator
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from kqi_hub.errors import Invalid

# SQLite's own integers have 64 bits, and only a column of this very name counts by itself.
Whole = BigInteger().with_variant(Integer(), "sqlite")
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            return value
        return (value if value.tzinfo is UTC else value.astimezone(UTC)).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CannotBeKept(DontWrapMixin, Invalid):
    """A text that no database can keep: it holds NUL, or half of a surrogate pair."""

    def __init__(self) -> None:
        super().__init__("invalid_request", fields="a text holds a NUL character or half of a surrogate pair")


class Words(TypeDecorator[str]):
    """A text that is ordered by its bytes, whatever the language of the server. Raises CannotBeKept.

    A length is what the wire models allow; neither engine is asked to look at it.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(collation="C") if dialect.name == "postgresql" else self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and _UNKEEPABLE.search(value):
            raise CannotBeKept
        return value


def kept(text: str) -> str:
    """Return what a foreign program said in a form that can be kept."""
    return _UNKEEPABLE.sub("\ufffd", text)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime, str: Words, int: Whole}  # noqa: RUF012 - SQLAlchemy reads it from the class


class TenantOwned:
    """A row that belongs to a tenant; `TenantScope` adds the condition to every statement that touches one.

    `shared_as`: the kind of thing that it is, or is part of, and the column with that thing's id, where such things
    can be shared.
    """

    shared_as: ClassVar[tuple[str, str] | None] = None
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
