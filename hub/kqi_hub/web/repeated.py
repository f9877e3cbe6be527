"""Let go of answers that were kept for a request that is repeated: a client that lost one asks again at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.identity.rows import IdempotencyRow

# The write lock is held for some milliseconds for as many.
_AT_ONCE = 1_000


@dataclass(slots=True, kw_only=True)
class RepeatedSweep:
    """An answer is kept for `keep`, and the same key then makes anew."""

    database: Database
    keep: timedelta = timedelta(hours=24)
    clock: Callable[[], datetime] = field(default=now)

    async def one_pass(self) -> None:
        old = IdempotencyRow.created_at < self.clock() - self.keep
        some = select(IdempotencyRow.id).where(old).order_by(IdempotencyRow.created_at).limit(_AT_ONCE)
        left = True
        while left:
            async with self.database.write() as session:
                gone = list(await session.scalars(some))
                await session.execute(delete(IdempotencyRow).where(IdempotencyRow.id.in_(gone)))
            left = len(gone) == _AT_ONCE
