"""People leave: their things go to somebody else, or go with them, and a report says what became of everything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import update

from kqi_hub.administration.rows import ErrandRow
from kqi_hub.errors import Unavailable
from kqi_hub.identity import people
from kqi_hub.identity.rows import MembershipRow
from kqi_hub.settings import load
from kqi_hub.testing.service import NobodyAtTheHub, Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database
from tests.integration.api.caller import Caller, signed_in
from tests.integration.api.test_roles import changed_roles

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def admin(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "admin-of-leaving", "sandbox", administrator=True) as caller:
        yield caller


async def ended(admin: Caller, number: int) -> Any:
    """Wait until an errand has ended, and return it."""
    while (found := await admin.get(f"/admin/errands/{number}"))["state"] in {"waiting", "working"}:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return found


async def joins(service: Running, name: str, tenant: str) -> None:
    async with service.database.write() as session:
        person, place = await people.person_named(session, name), await people.tenant_named(session, tenant)
        assert person and place
        session.add(MembershipRow(person_id=person.id, tenant_id=place.id, role="researcher"))


async def things(person: Caller) -> tuple[int, int, int]:
    """Let somebody own a thing of each kind; return their numbers."""
    data = await person.data({"a.txt": b"a"})
    dataset = await person.dataset({"splits": {"training": [data["id"]]}})
    run = await person.train("true", dataset={"id": dataset["id"]})
    await person.ended(run["id"])
    return data["id"], dataset["id"], run["id"]


async def owners(person: Caller, numbers: tuple[int, int, int]) -> set[str]:
    paths = zip(("data", "datasets", "trainings"), numbers, strict=True)
    return {(await person.get(f"/{kind}/{number}"))["created_by"] for kind, number in paths}


async def test_all_that_somebody_owns_goes_to_the_new_owner(service: Running, admin: Caller) -> None:
    old = await signed_in(service, "old-owner", "handed")
    new = await signed_in(service, "new-owner", "handed")
    numbers = await things(old)
    home = service.settings.store / "homes" / "old-owner"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    asked = await admin.post("/admin/people/old-owner/hand-over", {"to": "new-owner", "homes": True}, 202)
    done = await ended(admin, asked["id"])
    assert done["state"] == "done" and done["report"]["left"] == {}
    assert done["report"]["handed_over"] == {"runs": 1, "datasets": 1, "data": 1}
    assert await owners(new, numbers) == {"new-owner"}
    place = f"homes/new-owner/from-old-owner-{asked['id']}"
    assert place in done["report"]["folders"]
    assert (service.settings.store / place / "thesis.txt").read_text() == "years of work"
    log = (await admin.get("/admin/audit", params={"object": "person/old-owner"}))["items"]
    assert [item["action"] for item in log[:2]] == ["person.hand_over.done", "person.hand_over"]


async def test_what_lies_where_the_new_owner_is_not_stays_and_is_told(service: Running, admin: Caller) -> None:
    old = await signed_in(service, "stays", "closed-tenant")
    await signed_in(service, "outsider", "elsewhere-tenant")
    await things(old)
    asked = await admin.post("/admin/people/stays/hand-over", {"to": "outsider"}, 202)
    report = (await ended(admin, asked["id"]))["report"]
    assert report["left"] == {"runs": 1, "datasets": 1, "data": 1}
    assert set(report["handed_over"].values()) == {0}


async def test_an_errand_that_a_crash_cut_off_is_done_to_its_end(service: Running, admin: Caller) -> None:
    old = await signed_in(service, "crashed", "handed")
    numbers = await things(old)
    asked = await admin.post("/admin/people/crashed/hand-over", {"to": "new-owner", "homes": True}, 202)
    first = await ended(admin, asked["id"])
    async with service.database.write() as session:  # as the database is when the process died at the last step
        await session.execute(update(ErrandRow).where(ErrandRow.id == asked["id"]).values(state="working"))
    again = await ended(admin, asked["id"])
    assert again["state"] == "done" and again["report"]["folders"] == first["report"]["folders"]
    assert await owners(old, numbers) == {"new-owner"}


async def test_who_owns_something_is_not_deleted_by_accident(service: Running, admin: Caller) -> None:
    owner = await signed_in(service, "owner", "owned")
    await things(owner)
    answer = await admin.post("/admin/people/owner/delete", {}, 409)
    assert answer["code"] == "person_owns" and answer["params"]["owned"] == "1 runs, 1 datasets, 1 data"
    assert (await admin.post("/admin/people/owner/delete", {"confirm": "ownr"}, 422))["code"] == "name_not_repeated"
    answer = await admin.post("/admin/people/owner/delete", {"confirm": "owner", "erase_homes": "yes"}, 422)
    assert answer["code"] == "name_not_repeated"
    await owner.get("/me")


async def test_a_deleted_person_is_gone_and_their_home_is_kept_aside(service: Running, admin: Caller) -> None:
    goes = await signed_in(service, "goes", "left-tenant")
    stays = await signed_in(service, "stayer", "left-tenant")
    numbers = await things(goes)
    used = await stays.train("true", dataset={"id": numbers[1]})
    await stays.ended(used["id"])
    working = await goes.train("echo up; sleep 600")
    await goes.says(working["id"], "up")
    home = service.settings.store / "homes" / "goes"
    home.mkdir(exist_ok=True)
    (home / "notes.txt").write_text("x")
    asked = await admin.post("/admin/people/goes/delete", {"confirm": "goes"}, 202)
    done = await ended(admin, asked["id"])
    assert done["state"] == "done", done
    assert done["report"]["deleted"] == {"runs": 2, "datasets": 0, "data": 0}
    assert done["report"]["kept_for_others"] == {"runs": 0, "datasets": 1, "data": 1}
    aside = service.settings.store / f"set-aside/goes-{asked['id']}/homes"
    assert (aside / "notes.txt").exists() and str(aside.relative_to(service.settings.store)) in done["report"][
        "folders"
    ]
    assert not home.exists()
    await admin.get("/admin/people/goes", 404)
    assert (await goes.get("/me", 401))["code"] == "token_not_valid"
    assert (await stays.get(f"/datasets/{numbers[1]}"))["created_by"] == admin.name
    await stays.get(f"/trainings/{numbers[2]}", 404)
    verdict = await admin.get("/admin/audit/verify")
    assert verdict["whole"]


async def test_a_home_is_deleted_only_when_asked_for_by_name(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "erased"})
    home = service.settings.store / "homes" / "erased"
    home.mkdir()
    (home / "link").symlink_to(service.settings.store / "homes")
    asked = await admin.post("/admin/people/erased/delete", {"erase_homes": "erased"}, 202)
    done = await ended(admin, asked["id"])
    assert done["report"]["folders_deleted"] == ["homes/erased"] and not home.exists()
    assert (service.settings.store / "homes").exists()


async def manages(service: Running, name: str, *tenants: str) -> None:
    async with service.database.write() as session:
        person = await people.person_named(session, name)
        assert person
        for tenant in tenants:
            place = await people.ensure_tenant(session, tenant, tenant)
            membership = await session.get(MembershipRow, (person.id, place.id))
            if membership is None:
                session.add(MembershipRow(person_id=person.id, tenant_id=place.id, role="manager"))
            else:
                membership.role = "manager"


async def test_who_alone_manages_a_tenant_stays_until_another_one_does(service: Running, admin: Caller) -> None:
    for name in ("captain", "mate", "passenger"):
        await admin.post("/admin/people", {"name": name})
    await manages(service, "captain", "galley", "harbour", "wreck")
    await admin.post("/tenants/wreck/archive", status=200)
    refused = await admin.post("/admin/people/captain/delete", {"confirm": "captain"}, 409)
    assert refused["code"] == "person_manages" and refused["params"]["tenants"] == "galley, harbour"
    assert (await admin.get("/admin/people/captain"))["state"] == "active"
    for tenant, name in (("galley", "mate"), ("harbour", "mate")):
        await admin.put(f"/tenants/{tenant}/members/{name}", {"role": "manager"})
    await admin.post("/admin/people/mate/suspend", {}, 200)  # who cannot come manages nothing
    assert (await admin.post("/admin/people/captain/delete", {}, 409))["code"] == "person_manages"
    await admin.post("/admin/people/mate/resume", None, 200)
    assert (await ended(admin, (await admin.post("/admin/people/captain/delete", {}, 202))["id"]))["state"] == "done"


async def test_of_two_managers_who_go_at_the_same_time_one_stays(service: Running, admin: Caller) -> None:
    for name in ("first-of-two", "second-of-two"):
        await admin.post("/admin/people", {"name": name})
        await manages(service, name, "of-two")
    asked = await admin.post("/admin/people/first-of-two/delete", {}, 202)
    assert (await admin.post("/admin/people/second-of-two/delete", {}, 409))["params"]["tenants"] == "of-two"
    refused = await admin.delete("/tenants/of-two/members/second-of-two", 409)
    assert refused["code"] == "last_manager"
    assert (await ended(admin, asked["id"]))["state"] == "done"


async def test_who_takes_everything_over_manages_what_they_are_in(service: Running, admin: Caller) -> None:
    for name in ("abbot", "monk"):
        await admin.post("/admin/people", {"name": name})
    await manages(service, "abbot", "cloister", "garden")
    await joins(service, "monk", "cloister")
    asked = await admin.post("/admin/people/abbot/hand-over", {"to": "monk"}, 202)
    assert (await ended(admin, asked["id"]))["report"]["manager_of"] == ["cloister"]
    log = (await admin.get("/admin/audit", params={"object": "tenant/cloister", "action": "tenant.member"}))["items"]
    assert (log[0]["details"]["person"], log[0]["tenant"], log[0]["person"]) == ("monk", "cloister", admin.name)
    assert (await admin.post("/admin/people/abbot/delete", {}, 409))["params"]["tenants"] == "garden"
    await admin.post("/tenants/garden/archive", status=200)
    await admin.post("/admin/people/abbot/delete", {}, 202)


async def test_nobody_becomes_a_manager_by_those_who_may_not_make_one(service: Running, admin: Caller) -> None:
    clerks = {"name": "clerk-of-people", "level": "platform", "capabilities": ["people.read", "people.manage"]}
    await changed_roles(admin, [clerks])
    await admin.post("/admin/people", {"name": "bishop"})
    await manages(service, "bishop", "diocese")
    async with await signed_in(service, "clerk", "diocese") as clerk:
        await admin.patch("/admin/people/clerk", {"platform_role": "clerk-of-people"})
        asked = await clerk.post("/admin/people/bishop/hand-over", {"to": "clerk"}, 202)
        assert "manager_of" not in (await ended(admin, asked["id"]))["report"]
        await admin.patch("/admin/people/clerk", {"platform_role": ""})
    await changed_roles(admin, [])


async def number_of(service: Running, name: str) -> int:
    async with service.database.read() as session:
        person = await people.person_named(session, name)
        assert person
        return person.id


async def test_a_name_that_was_deleted_is_free_for_somebody_else(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "twice"})
    first = await number_of(service, "twice")
    await ended(admin, (await admin.post("/admin/people/twice/delete", {}, 202))["id"])
    await admin.post("/admin/people", {"name": "twice"})
    assert await number_of(service, "twice") != first
    asked = await admin.post("/admin/people/twice/delete", {}, 202)
    assert (await ended(admin, asked["id"]))["state"] == "done"


async def test_things_are_handed_to_somebody_who_can_take_them(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "giver"})
    assert (await admin.post("/admin/people/giver/hand-over", {"to": "giver"}, 422))["code"] == "heir_is_owner"
    await admin.post("/admin/people/giver/hand-over", {"to": "nobody"}, 404)
    await admin.post("/admin/people", {"name": "away"})
    await admin.post("/admin/people/away/suspend", {}, 200)
    assert (await admin.post("/admin/people/giver/hand-over", {"to": "away"}, 409))["code"] == "heir_suspended"


class HubAwayForOne(NobodyAtTheHub):
    """A hub that cannot be reached when it is to forget one person."""

    async def forget(self, person: str) -> None:
        if person == "stuck":
            raise Unavailable("hub_unreachable")


async def test_an_errand_that_fails_keeps_none_of_the_later_waiting(tmp_path: Path) -> None:
    settings = load(environ={}, state=tmp_path, server={"port": free_port()}, database=database.fresh())
    async with (
        running(settings, backend=MemoryBackend(), hub=HubAwayForOne()) as service,
        await signed_in(service, "chief", "sandbox", administrator=True) as chief,
    ):
        asked = {}
        for name in ("stuck", "free"):
            await chief.post("/admin/people", {"name": name})
            asked[name] = (await chief.post(f"/admin/people/{name}/delete", {}, 202))["id"]
        assert (await ended(chief, asked["free"]))["state"] == "done"
        assert (await chief.get(f"/admin/errands/{asked['stuck']}"))["state"] == "working"
