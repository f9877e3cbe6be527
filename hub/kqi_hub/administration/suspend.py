"""Suspend a person: whatever they have at work ends, and nothing new begins; their things stay.

That somebody is suspended is a fact in the database; the loop makes it true everywhere, again and again for as long as
it holds. So a crash costs nothing, whoever suspended them (a request, a command, a directory) makes no difference, and
what slipped through at the moment of it ends with the next pass.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.administration.hub import Hub
from kqi_hub.administration.rows import SuspensionRow
from kqi_hub.background.loop import each
from kqi_hub.clock import now
from kqi_hub.db.engine import Database
from kqi_hub.identity import tokens
from kqi_hub.identity.rows import PersonRow


class OnSuspend(Protocol):
    """What a feature does about people who are suspended. Called again and again; idempotent."""

    async def __call__(self, people: Collection[int]) -> None: ...


async def suspend(session: AsyncSession, person: PersonRow, *, by: str, reason: str) -> None:
    """Record it; from the commit on no sign-in and no token of theirs works. Suspending again changes the reason."""
    person.disabled = True
    await tokens.end_all(session, person.id)
    row = await session.get(SuspensionRow, person.id)
    if row is None:
        session.add(SuspensionRow(person_id=person.id, at=now(), by=by, reason=reason))
    else:
        row.reason, row.by = reason, by
    await session.flush()


async def resume(session: AsyncSession, person: PersonRow) -> None:
    """Let them sign in again; what ended stays ended."""
    person.disabled = False
    row = await session.get(SuspensionRow, person.id)
    if row is not None:
        await session.delete(row)
    await session.flush()


@dataclass(slots=True, kw_only=True)
class Suspension:
    """`wake` lets the next pass begin at once, wherever the loop runs."""

    database: Database
    hub: Hub
    hooks: list[OnSuspend] = field(default_factory=list)
    wake: Callable[[], None] = field(default=lambda: None)

    async def one_pass(self) -> None:
        """End what people who are suspended still have. One part that fails keeps none of the others from it."""
        people = await self._suspended()
        if not people:
            return
        steps = (self._end_tokens, *(_of(hook) for hook in self.hooks), self._put_out)
        await each([partial(step, people) for step in steps])

    async def _suspended(self) -> dict[int, str]:
        async with self.database.read() as session:
            rows = await session.execute(select(PersonRow.id, PersonRow.name).where(PersonRow.disabled.is_(True)))
            return {number: name for number, name in rows.tuples()}

    async def _end_tokens(self, _people: dict[int, str]) -> None:
        async with self.database.read() as session:
            holders = await tokens.holders(session, PersonRow.disabled.is_(True))
        for person in holders:
            async with self.database.write() as session:
                await tokens.end_all(session, person)

    async def _put_out(self, people: dict[int, str]) -> None:
        """Tell the hub once; who was suspended by other means than ours is noted as it is found."""
        async with self.database.read() as session:
            told = select(SuspensionRow.person_id).where(SuspensionRow.out_at.is_not(None))
            done = set((await session.execute(told)).scalars())
        for person in people.keys() - done:
            await self.hub.put_out(people[person])
            async with self.database.write() as session:
                row = await session.get(SuspensionRow, person)
                if row is not None:
                    row.out_at = now()
                else:
                    session.add(SuspensionRow(person_id=person, at=now(), by="", reason="", out_at=now()))


def _of(hook: OnSuspend) -> Callable[[dict[int, str]], Awaitable[None]]:
    return lambda people: hook(people.keys())
