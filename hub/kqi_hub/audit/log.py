"""The audit log."""

import json
from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from kqi_hub.clock import now
from kqi_hub.db.base import Base, Words
from kqi_hub.db.scope import TenantScope


class AuditRow(Base):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    person_id: Mapped[int | None]
    tenant_id: Mapped[int | None] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(Words(64))
    object: Mapped[str] = mapped_column(Words(128))
    details: Mapped[str]  # JSON; never a secret


async def record(scope: TenantScope, action: str, thing: str, **details: object) -> None:
    """Note that the person of `scope` did `action` to `thing` (`training/42`)."""
    row = AuditRow(
        at=now(),
        person_id=scope.person,
        tenant_id=scope.tenant,
        action=action,
        object=thing,
        details=json.dumps(details, ensure_ascii=False, default=str),
    )
    await scope.add(row)
