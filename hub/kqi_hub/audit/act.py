"""Who does something, from where, in which transaction: for what happens beside the things of one tenant."""

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit import log
from kqi_hub.db.scope import Origin
from kqi_hub.identity.model import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    session: AsyncSession
    person: Principal
    origin: Origin

    async def note(self, action: str, thing: str, *, tenant: int | None = None, **details: object) -> None:
        """Put it on record, in the transaction that does it."""
        entry = entry_of(self.person, self.origin, action, thing, details=log.written(details))
        await log.append(self.session, replace(entry, tenant=tenant))


def entry_of(person: Principal, origin: Origin, action: str, thing: str, *, details: str = "{}") -> log.Entry:
    """Return the entry of the audit log for something that somebody did."""
    return log.Entry(
        action=action,
        thing=thing,
        person=person.person,
        token=origin.token,
        address=origin.address,
        details=details,
    )
