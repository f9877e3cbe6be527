"""The errands by which a person's things go to another owner, and by which a person is deleted."""

from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.administration import errands, people
from kqi_hub.administration.errands import NotYet, Task, Wanted
from kqi_hub.administration.estate import Estate, owned
from kqi_hub.administration.hub import Hub
from kqi_hub.administration.rows import ErrandRow
from kqi_hub.administration.suspend import suspend
from kqi_hub.audit.log import Entry, append, written
from kqi_hub.data.store import UploadRow
from kqi_hub.errors import Conflict, Invalid, NotFound
from kqi_hub.identity.model import Principal
from kqi_hub.identity.people import person_named
from kqi_hub.identity.policy import MANAGER, Permission
from kqi_hub.identity.rows import PersonRow
from kqi_hub.tenants import members
from kqi_hub.tenants.roles import keep_an_administrator
from kqi_hub.tenants.store import managed_alone

HAND_OVER = "person.hand_over"
DELETE = "person.delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    estate: Estate
    hub: Hub

    async def ask_hand_over(
        self, session: AsyncSession, name: str, to: str, caller: Principal, *, homes: bool
    ) -> ErrandRow:
        """Record that all of `name` is to be of `to`, the management of tenants as well if the caller manages all."""
        person, heir = await people.find(session, name), await people.find(session, to)
        if person.id == heir.id:
            raise Invalid("heir_is_owner", name=name)
        if heir.disabled:
            raise Conflict("heir_suspended", name=to)
        asked = {"to": to, "homes": homes, "tenants": caller.may(Permission.TENANTS_MANAGE)}
        return await errands.ask(session, _wanted(HAND_OVER, name, asked, caller))

    async def hand_over(self, task: Task) -> None:
        name, to = task.about.partition("/")[2], str(task.asked["to"])
        async with task.database.read() as session:
            person, heir = await people.find(session, name), await people.find(session, to)
        for things in self.estate.kinds:
            task.count("handed_over", things.kind, await self.estate.hand_over(things, person.id, heir.id))
            await task.save()
        if task.asked.get("tenants"):
            await self._hand_over_tenants(task, person, heir)
        if task.asked["homes"]:
            await self._wait_for_runs(task, person)
            task.report["folders"] = await self.estate.move_folders(name, to, task.id)
        async with task.database.read() as session:
            left = await self.estate.counts(session, person.id)
        # What lies in tenants that the new owner is not in, and runs at work.
        task.report["left"] = {kind: number for kind, number in left.items() if number}

    async def _hand_over_tenants(self, task: Task, person: PersonRow, heir: PersonRow) -> None:
        async with task.database.write() as session:
            taken = await members.succeed(session, person, heir)
            for tenant in taken:
                said = written({"person": heir.name, "role": MANAGER, "errand": task.id})
                thing = f"tenant/{tenant.name}"
                made = Entry(action="tenant.member", thing=thing, person=task.by, tenant=tenant.id, details=said)
                await append(session, made)
        task.report.setdefault("manager_of", []).extend(tenant.name for tenant in taken)
        await task.save()

    async def ask_delete(
        self, session: AsyncSession, name: str, caller: Principal, *, asked: dict[str, bool]
    ) -> ErrandRow:
        """Suspend the person and record that they are to be deleted.

        Raises Conflict while they own something, or while they alone manage a tenant.
        `asked`: `things` deletes what they own as well, `homes` their folders.
        """
        person = await people.find(session, name)
        if person.id == caller.person:
            raise Conflict("not_yourself")
        await keep_an_administrator(session, person)
        counts = await self.estate.counts(session, person.id)
        if any(counts.values()) and not asked["things"]:
            raise Conflict("person_owns", name=name, owned=owned(counts))
        alone = [tenant.name for tenant in await managed_alone(session, person.id)]
        if alone:
            raise Conflict("person_manages", name=name, tenants=", ".join(alone))
        await suspend(session, person, by=caller.name, reason="")
        return await errands.ask(session, _wanted(DELETE, name, asked, caller))

    async def delete(self, task: Task) -> None:
        name = task.about.partition("/")[2]
        async with task.database.read() as session:
            person = await person_named(session, name)
            if await session.get(PersonRow, task.by) is None:
                raise NotFound("person", task.by)
        if person is None:  # deleted before a crash
            return
        await self._wait_for_runs(task, person)
        for things in self.estate.kinds if task.asked["things"] else ():
            task.count("deleted", things.kind, await self.estate.erase(things, person.id, task.by))
            # What others' work stands on has to be somebody's.
            task.count("kept_for_others", things.kind, await self.estate.give_rest(things, person.id, task.by))
            await task.save()
        await self._check_owns_nothing(task, person)
        if task.asked["homes"]:
            task.report["folders_deleted"] = await self.estate.erase_folders(name)
        else:
            task.report["folders"] = await self.estate.set_aside(name, task.id)
        await task.save()
        await self.hub.forget(name)
        async with task.database.write() as session:
            await session.execute(delete(UploadRow).where(UploadRow.person_id == person.id))
            await session.execute(delete(PersonRow).where(PersonRow.id == person.id))

    async def _wait_for_runs(self, task: Task, person: PersonRow) -> None:
        async with task.database.read() as session:
            if await self.estate.at_work(session, person.id):
                raise NotYet

    async def _check_owns_nothing(self, task: Task, person: PersonRow) -> None:
        async with task.database.read() as session:
            counts = await self.estate.counts(session, person.id)
        if any(counts.values()):
            raise Conflict("person_owns", name=person.name, owned=owned(counts))


def _wanted(kind: str, name: str, asked: dict[str, object] | dict[str, bool], caller: Principal) -> Wanted:
    return Wanted(kind=kind, about=f"person/{name}", asked=asked, by_id=caller.person, by=caller.name)
