"""Who may no longer sign in loses what would let them in without: their tokens wait until they are back.

A browser session ends when the hub asks the directory again. A program's token and an SSH key ask nobody: so those who
have one, or were seen at a browser, are looked up from time to time. Nothing of theirs is deleted and no work is ended;
an administrator may suspend them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.audit.log import Entry, append
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.directory.base import Directory, Unanswered
from kqi_hub.errors import Unavailable
from kqi_hub.identity import tokens
from kqi_hub.identity.rows import LOCAL, BrowserSessionRow, PersonRow

log = logging.getLogger(__name__)
# Questions to the directory at once.
_AT_ONCE = 4
# Returns people whom something else than a token lets in.
WayIn = Callable[[AsyncSession], Awaitable[set[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    database: Database
    directory: Directory
    ways_in: Sequence[WayIn] = ()

    async def one_pass(self) -> None:
        """Look up who has a way in, and who was gone the last time. With the directory away, all stay as they are."""
        asking = asyncio.Semaphore(_AT_ONCE)

        async def there(person: _Person) -> bool:
            try:
                async with asking:
                    entry = await self.directory.look_up(person.name)
            except Unanswered as error:
                log.warning("somebody cannot be looked up", extra={"person": person.name, "code": error.code})
                return not person.gone  # stays as they are, and keeps nobody else from being looked up
            # Names are given anew: who has this one now may be somebody else.
            return entry is not None and entry.directory_id == person.directory_id

        people = await self._people()
        try:
            found = await asyncio.gather(*(there(person) for person in people))
        except Unavailable as error:
            log.info("the directory cannot be asked who is still there", extra={"code": error.code})
            return
        for person, is_there in zip(people, found, strict=True):
            if person.gone is is_there:
                await self._note(person, gone=not is_there)

    async def _people(self) -> "list[_Person]":
        async with self.database.read() as session:
            query = select(PersonRow.id, PersonRow.name, PersonRow.directory_id, PersonRow.gone_at.is_not(None))
            of_directory = (PersonRow.source != LOCAL) & PersonRow.disabled.is_(False)
            known = [_Person(*row) for row in await session.execute(query.where(of_directory))]
            holders = await tokens.holders(session, of_directory)
            holders |= set(await session.scalars(select(BrowserSessionRow.person_id).distinct()))
            for way in self.ways_in:
                holders |= await way(session)
        return [person for person in known if person.gone or person.id in holders]

    async def _note(self, person: "_Person", *, gone: bool) -> None:
        async with self.database.write() as session:
            row = await session.get(PersonRow, person.id)
            if row is not None:
                row.gone_at = now() if gone else None
                action = "person.gone" if gone else "person.back"
                await append(session, Entry(action=action, thing=f"person/{person.name}"))


@dataclass(frozen=True, slots=True)
class _Person:
    id: int
    name: str
    directory_id: str | None
    gone: bool
