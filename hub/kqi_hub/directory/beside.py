"""What stands before local accounts and a directory: an administrator's own account works whatever becomes of that."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kqi_hub.directory.base import Directory, Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.settings_people import SignIn
from kqi_spawner.workload import Secret

# A refusal comes no sooner: hashing, here or there, would tell local accounts, others and names of nobody apart.
_REFUSAL_S = 0.3
# A new local account is one after this time.
_LOCALS_S = 1.0


class Beside:
    """A `Directory`. Who has a local account is asked for there; everybody else in the directory.

    Without a directory `other` is `local` again: a name of nobody takes as long there as one that somebody has. Wrong
    passwords of a name without a local account are counted here, whether or not there is such a person, as local ones
    are: so nobody learns from a lock who exists, and nobody can have the directory lock an account, if it bears more
    attempts than this. `clock` and `sleep` are in seconds.
    """

    def __init__(
        self,
        local: LocalDirectory,
        other: Directory,
        rules: SignIn,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._local = local
        self._other = other
        self._clock = clock
        self._sleep = sleep
        self._failures = Failures(rules, clock)
        self._locals: frozenset[str] = frozenset()
        self._locals_at = -math.inf
        self._asking = asyncio.Lock()  # of many at once, one asks

    async def verify(self, name: str, password: Secret) -> Entry | Refused:
        begin = self._clock()
        found = await self._verified(name, password)
        if isinstance(found, Refused) and found.why in {Refusal.WRONG, Refusal.LOCKED}:
            await self._until(begin + _REFUSAL_S)
        return found

    async def _verified(self, name: str, password: Secret) -> Entry | Refused:
        if await self._is_local(name):
            return await self._local.verify(name, password)
        locked_s = self._failures.locked_s(name)
        if locked_s:
            return Refused(why=Refusal.LOCKED, retry_after_s=locked_s)
        found = await self._other.verify(name, password)
        locked_s = self._failures.locked_s(name)  # by others, that were asked at the same time
        if locked_s:
            return Refused(why=Refusal.LOCKED, retry_after_s=locked_s)
        self._failures.note(name, wrong=isinstance(found, Refused) and found.why is Refusal.WRONG)
        return found

    async def look_up(self, name: str) -> Entry | None:
        if await self._is_local(name):
            return await self._local.look_up(name)
        return await self._other.look_up(name)

    async def change_password(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        begin = self._clock()
        fault = await self._changed(name, old, new)
        if fault in {PasswordFault.WRONG_OLD, PasswordFault.LOCKED}:
            await self._until(begin + _REFUSAL_S)
        return fault

    async def _changed(self, name: str, old: Secret, new: Secret) -> PasswordFault | None:
        if await self._is_local(name):
            return await self._local.change_password(name, old, new)
        if self._failures.locked_s(name):
            return PasswordFault.LOCKED
        fault = await self._other.change_password(name, old, new)
        if fault is PasswordFault.WRONG_OLD and self._failures.locked_s(name):
            return PasswordFault.LOCKED
        self._failures.note(name, wrong=fault is PasswordFault.WRONG_OLD)
        return fault

    async def _is_local(self, name: str) -> bool:
        """Return whether there is a local account. All names are read at once, for all who come within a second."""
        async with self._asking:
            if self._clock() - self._locals_at > _LOCALS_S:
                self._locals, self._locals_at = await self._local.names(), self._clock()
        return name in self._locals

    async def _until(self, moment: float) -> None:
        await self._sleep(max(0.0, moment - self._clock()))

    def close(self) -> None:
        self._local.close()
        self._other.close()


@dataclass(slots=True)
class _Count:
    wrong: int = 0
    locked_until: float = 0.0


class Failures:
    """Wrong passwords in a row by name; the oldest names are forgotten when there are very many."""

    def __init__(self, rules: SignIn, clock: Callable[[], float], *, remembered: int = 50_000) -> None:
        self._rules = rules
        self._clock = clock
        self._remembered = remembered
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def locked_s(self, name: str) -> int:
        """Return for how many seconds the name is locked, 0 if it is not."""
        count = self._counts.get(name)
        return max(0, math.ceil(count.locked_until - self._clock())) if count else 0

    def note(self, name: str, *, wrong: bool) -> None:
        """Count what came out; a right password ends the row."""
        if not wrong:
            self._counts.pop(name, None)
            return
        count = self._counts.setdefault(name, _Count())
        self._counts.move_to_end(name)
        count.wrong += 1
        if count.wrong >= self._rules.attempts:
            count.wrong, count.locked_until = 0, self._clock() + self._rules.lock_s
        if len(self._counts) > self._remembered:
            self._counts.popitem(last=False)
