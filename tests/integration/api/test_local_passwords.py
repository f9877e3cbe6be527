"""Rules about the passwords of local accounts, as time goes by."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from kqi_hub.clock import now
from kqi_hub.directory.base import Directory, Entry, PasswordFault, Refusal, Refused
from kqi_hub.directory.beside import Beside
from kqi_hub.directory.local import LocalDirectory, set_password
from kqi_hub.identity import people
from kqi_hub.identity.rows import LocalAccountRow
from kqi_hub.settings_people import SignIn
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running
from kqi_spawner.workload import Secret

pytestmark = pytest.mark.asyncio(loop_scope="session")
_FIRST = "first horse battery"


class Account:
    """A new local account, under rules of its own."""

    def __init__(self, service: Running, name: str, **rules: Any) -> None:
        self.database, self.name = service.database, name
        self.directory = LocalDirectory(service.database, SignIn(**rules))

    async def make(self, *, must_change: bool = False) -> "Account":
        async with self.database.write() as session:
            tenant = await people.ensure_tenant(session, "sandbox", "sandbox")
            person = await people.ensure_person(session, self.name, tenant)
            await set_password(session, person.id, Secret(_FIRST), must_change=must_change)
            self.id = person.id
        return self

    async def set_days_ago(self, days: float) -> None:
        async with self.database.write() as session:
            then = now() - timedelta(days=days)
            await session.execute(
                update(LocalAccountRow).where(LocalAccountRow.person_id == self.id).values(changed_at=then)
            )

    async def enter(self, password: str = _FIRST) -> Entry:
        found = await self.directory.verify(self.name, Secret(password))
        assert isinstance(found, Entry), found
        return found

    async def change(self, old: str, new: str) -> PasswordFault | None:
        return await self.directory.change_password(self.name, Secret(old), Secret(new))


class Wait:
    """A clock that stands still but for those who wait."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize("beside", [False, True], ids=["local-only", "directory"])
async def test_a_refusal_says_the_same_as_late_whether_or_not_there_is_such_a_person(
    service: Running, beside: bool
) -> None:
    rules = {"attempts": 2, "lock_s": 60}
    account = await Account(service, f"guessed-{beside}".lower(), **rules).make()
    other: Directory = MemoryDirectory() if beside else account.directory
    told = []
    for name in (account.name, f"nobody-{beside}".lower()):
        wait = Wait()
        directory = Beside(account.directory, other, SignIn(**rules), clock=wait.clock, sleep=wait.sleep)
        answers: list[object] = []
        for _ in range(4):
            found = await directory.verify(name, Secret("wrong horse battery"))
            assert isinstance(found, Refused)
            answers.append((found.why, round(wait.now_s, 3)))
        answers.append((await directory.change_password(name, Secret("wrong"), Secret(_FIRST)), round(wait.now_s, 3)))
        told.append(answers)
    wrong, locked = (Refusal.WRONG, Refusal.WRONG), (Refusal.LOCKED, Refusal.LOCKED, PasswordFault.LOCKED)
    assert told[0] == told[1] == list(zip((*wrong, *locked), (0.3, 0.6, 0.9, 1.2, 1.5), strict=True))


async def test_many_guesses_at_once_tell_no_more_than_one_after_the_other(service: Running) -> None:
    account = await Account(service, "rushed", attempts=2).make()
    told = []
    for name in (account.name, "nobody-rushed"):
        directory = Beside(account.directory, account.directory, SignIn(attempts=2))
        tried = [directory.change_password(name, Secret("wrong"), Secret(_FIRST)) for _ in range(6)]
        told.append(sorted(str(fault) for fault in await asyncio.gather(*tried)))
    assert told[0] == told[1] == ["account_locked"] * 4 + ["password_wrong_old"] * 2


async def test_former_passwords_do_not_come_again_as_far_back_as_the_rule_says(service: Running) -> None:
    account = await Account(service, "remembers", password_history=2).make()
    words = [_FIRST, *(f"{number} horse battery" for number in ("second", "third", "fourth"))]
    for old, new in itertools.pairwise(words[:3]):
        assert await account.change(old, new) is None
    assert await account.change(words[2], words[0]) is PasswordFault.IN_HISTORY
    assert await account.change(words[2], words[1]) is PasswordFault.IN_HISTORY
    assert await account.change(words[2], words[3]) is None
    assert await account.change(words[3], words[0]) is None
    careless = await Account(service, "careless").make()
    assert await careless.change(words[0], words[1]) is None
    assert await careless.change(words[1], words[0]) is None


async def test_one_that_an_administrator_gave_is_changed_at_once_others_not_too_soon(service: Running) -> None:
    account = await Account(service, "hasty", password_min_age_days=1).make(must_change=True)
    assert await account.change(_FIRST, "second horse battery") is None
    assert await account.change("second horse battery", "third horse battery") is PasswordFault.TOO_SOON
    await account.set_days_ago(1.01)
    assert await account.change("second horse battery", "third horse battery") is None


async def test_one_that_grows_old_is_told_of_then_borne_a_while_and_then_changed_first(service: Running) -> None:
    rules = {"password_max_age_days": 30, "password_warn_days": 7, "password_grace": 2}
    account = await Account(service, "ageing", **rules).make()
    found = await account.enter()
    assert (found.must_change, found.expires_at, found.grace_left) == (False, None, None)
    await account.set_days_ago(25)
    found = await account.enter()
    assert found.expires_at is not None and not found.must_change
    assert timedelta(days=4) < found.expires_at - now() < timedelta(days=6)
    await account.set_days_ago(31)
    # A wrong password costs none of the sign-ins that are left.
    await account.directory.verify(account.name, Secret("wrong horse battery"))
    for left in (1, 0):
        found = await account.enter()
        assert (found.must_change, found.grace_left) == (False, left)
    assert (await account.enter()).must_change
    assert await account.change(_FIRST, "second horse battery") is None
    found = await account.enter("second horse battery")
    assert (found.must_change, found.expires_at, found.grace_left) == (False, None, None)
