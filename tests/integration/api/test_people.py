"""People as administrators change them: nobody gets beyond their own rights, and there is always an administrator."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.identity import people
from kqi_hub.identity.rows import PersonRow, RoleRow
from kqi_hub.testing.service import Running
from kqi_spawner.workload import Secret
from tests.integration.api.caller import Caller, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def admin(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "admin-of-people", "sandbox", administrator=True) as caller:
        yield caller


async def checked(service: Running, name: str, password: str) -> Entry | Refused:
    return await LocalDirectory(service.database, service.settings.sign_in).verify(name, Secret(password))


async def of_directory(service: Running, name: str) -> None:
    async with service.database.write() as session:
        await session.execute(update(PersonRow).where(PersonRow.name == name).values(source="ldap", directory_id=name))


async def test_a_new_person_signs_in_once_with_the_password_shown(service: Running, admin: Caller) -> None:
    made = await admin.post("/admin/people", {"name": "hanako", "display_name": "花子", "email": "hanako@example.org"})
    person, password = made["person"], made["password"]
    assert (person["name"], person["display_name"], person["email"]) == ("hanako", "花子", "hanako@example.org")
    assert person["state"] == "active" and person["must_change_password"] and person["tenants"] == ["sandbox"]
    found = await checked(service, "hanako", password)
    assert isinstance(found, Entry) and found.must_change
    assert (await admin.post("/admin/people", {"name": "hanako"}, 409))["code"] == "user_exists"
    shown = (await admin.get("/admin/audit", params={"object": "person/hanako"}))["items"]
    assert [item["action"] for item in shown] == ["person.create"] and password not in str(shown)


@pytest.mark.parametrize("name", ["", "Hanako", "a b", "-x", "a" * 65, "花子", "a\n", "../x", "x\x00"])
async def test_a_name_that_nobody_can_have_is_refused(admin: Caller, name: str) -> None:
    await admin.post("/admin/people", {"name": name}, 422)


async def test_people_are_listed_by_pages_and_found(service: Running, admin: Caller) -> None:
    for number in range(5):
        await admin.post("/admin/people", {"name": f"listed{number}", "email": f"l{number}@listed.example"})
    seen: list[str] = []
    cursor: str | None = None
    while True:
        wanted = {"q": "listed.example", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await admin.get("/admin/people", params=wanted)
        seen += [person["name"] for person in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == [f"listed{number}" for number in range(5)]
    await of_directory(service, "listed3")
    found = await admin.get("/admin/people", params={"q": "listed", "source": "ldap"})
    assert [person["name"] for person in found["items"]] == ["listed3"]
    roles = await admin.get("/admin/people", params={"role": "administrator"})
    assert admin.name in [person["name"] for person in roles["items"]]


async def test_a_locked_account_is_shown_as_locked_and_opened(service: Running, admin: Caller) -> None:
    password = (await admin.post("/admin/people", {"name": "locked"}))["password"]
    for _ in range(service.settings.sign_in.attempts):
        await checked(service, "locked", "wrong")
    assert (await admin.get("/admin/people/locked"))["state"] == "locked"
    found = await admin.get("/admin/people", params={"state": "locked"})
    assert {person["state"] for person in found["items"]} == {"locked"}
    assert "locked" in [person["name"] for person in found["items"]]  # others of other tests may be, too
    assert (await admin.post("/admin/people/locked/unlock", None, 200))["state"] == "active"
    assert isinstance(await checked(service, "locked", password), Entry)


async def test_a_new_password_takes_the_place_of_the_old(service: Running, admin: Caller) -> None:
    old = (await admin.post("/admin/people", {"name": "forgetful"}))["password"]
    new = (await admin.post("/admin/people/forgetful/password", {}, 200))["password"]
    assert new != old
    assert isinstance(await checked(service, "forgetful", old), Refused)
    assert isinstance(await checked(service, "forgetful", new), Entry)


async def test_a_local_person_is_called_otherwise_and_keeps_the_user_name(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "married", "display_name": "Before", "email": "before@example.org"})
    wanted = {"display_name": "After", "email": "after@example.org"}
    changed = await admin.patch("/admin/people/married", wanted)
    assert (changed["name"], changed["display_name"], changed["email"]) == ("married", *wanted.values())
    shown = (await admin.get("/admin/audit", params={"object": "person/married"}))["items"]
    assert shown[0]["action"] == "person.change" and shown[0]["details"] == {"fields": ["display_name", "email"]}
    await admin.patch("/admin/people/married", {"name": "other"}, 422)


async def test_what_the_directory_says_is_changed_in_the_directory(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "campus"})
    await of_directory(service, "campus")
    answer = await admin.patch("/admin/people/campus", {"display_name": "x"}, 409)
    assert (answer["code"], answer["params"]["field"]) == ("field_of_directory", "display_name")
    for path in ("password", "unlock"):
        body = {} if path == "password" else None
        assert (await admin.post(f"/admin/people/campus/{path}", body, 409))["code"] == "password_of_directory"
    changed = await admin.patch("/admin/people/campus", {"platform_role": "auditor"})
    assert changed["platform_roles"] == ["auditor"]


async def test_a_role_over_the_platform_is_given_and_taken(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "riser"})
    riser = await signed_in(service, "riser", "sandbox")
    await riser.get("/admin/audit", 403)
    await admin.patch("/admin/people/riser", {"platform_role": "auditor"})
    await riser.get("/admin/audit")
    await riser.patch("/admin/people/riser", {"platform_role": "administrator"}, 403)
    await admin.patch("/admin/people/riser", {"platform_role": ""})
    await riser.get("/admin/audit", 403)
    answer = await admin.patch("/admin/people/riser", {"platform_role": "manager"}, 422)
    assert answer["code"] == "platform_role_unknown"


async def test_nobody_gives_or_takes_over_more_than_they_have(service: Running, admin: Caller) -> None:
    async with service.database.write() as session:
        permissions = '["people.read", "people.manage"]'
        session.add(RoleRow(name="desk", display_name="", level="platform", permissions=permissions))
    await admin.post("/admin/people", {"name": "helpdesk", "platform_role": "desk"})
    await admin.post("/admin/people", {"name": "ordinary"})
    desk = await signed_in(service, "helpdesk", "sandbox")
    await desk.post("/admin/people/ordinary/password", {}, 200)
    target = f"/admin/people/{admin.name}"
    refused = [
        await desk.post(f"{target}/password", {}, 403),
        await desk.post(f"{target}/suspend", {}, 403),
        await desk.post(f"{target}/delete", {}, 403),
        await desk.patch(target, {"email": "x@example.org"}, 403),
        await desk.patch("/admin/people/ordinary", {"platform_role": "administrator"}, 403),
        await desk.post("/admin/people", {"name": "friend", "platform_role": "administrator"}, 403),
        # Who may manage people gives nobody a role, be it their own.
        await desk.patch("/admin/people/ordinary", {"platform_role": "desk"}, 403),
        await desk.patch("/admin/people/helpdesk", {"platform_role": ""}, 403),
        await desk.post("/admin/people", {"name": "friend", "platform_role": "desk"}, 403),
    ]
    assert {answer["code"] for answer in refused} == {"beyond_own_rights"}
    await admin.get("/admin/people/friend", 404)
    await admin.patch("/admin/people/helpdesk", {"platform_role": ""})
    async with service.database.write() as session:
        await session.execute(delete(RoleRow).where(RoleRow.name == "desk"))  # the matrix is everybody's


async def test_the_last_administrator_stays_one(service: Running, admin: Caller) -> None:
    async with service.database.write() as session:
        others = PersonRow.platform_role == "administrator"
        await session.execute(update(PersonRow).where(others, PersonRow.name != admin.name).values(platform_role=None))
    assert (await admin.patch(f"/admin/people/{admin.name}", {"platform_role": ""}, 409))[
        "code"
    ] == "last_administrator"
    assert (await admin.post(f"/admin/people/{admin.name}/suspend", {}, 409))["code"] == "not_yourself"
    assert (await admin.post(f"/admin/people/{admin.name}/delete", {}, 409))["code"] == "not_yourself"


async def test_without_a_sender_a_password_cannot_be_sent_and_nothing_is_made(admin: Caller) -> None:
    body = {"name": "mailed", "email": "m@example.org", "send": True}
    assert (await admin.post("/admin/people", body, 409))["code"] == "no_sender"
    await admin.get("/admin/people/mailed", 404)


async def test_a_suspended_person_is_told_so_by_every_token_and_their_runs_end(service: Running, admin: Caller) -> None:
    await admin.post("/admin/people", {"name": "miner"})
    miner = await signed_in(service, "miner", "sandbox")
    running = await miner.train("echo up; sleep 600", grace_s=5)
    stubborn = await miner.train("trap '' TERM; echo up; sleep 600", grace_s=3600)
    # Their own stop came before: it gives the run the hour that it wants.
    stopped = await miner.train("trap '' TERM; echo up; sleep 600", grace_s=3600)
    for run in (running, stubborn, stopped):
        await miner.says(run["id"], "up")
    await miner.post(f"/trainings/{stopped['id']}/stop", {"mode": "cancel"}, 200)
    await miner.until(stopped["id"], "stopping")
    waiting = await miner.train("sleep 600", resources={"cpu": 8, "memory_gb": 8})
    shown = await admin.post("/admin/people/miner/suspend", {"reason": "mining"}, 200)
    assert (shown["state"], shown["suspended_by"], shown["suspended_for"]) == ("suspended", admin.name, "mining")
    assert (await miner.get("/me", 403))["code"] == "account_disabled"
    assert (await miner.post("/trainings", {"command": "x"}, 403))["code"] == "account_disabled"
    colleague = await signed_in(service, "colleague", "sandbox")
    for run in (running, waiting, stubborn, stopped):
        ended = await colleague.ended(run["id"])
        assert ended["phase"] in {"canceled", "killed"}
        events = (await colleague.get(f"/trainings/{run['id']}/events"))["events"]
        assert "account_disabled" in [event["reason"] for event in events]
    refused: list[dict[str, str]] = []
    while not refused:  # written some at a time
        refused = (await admin.get("/admin/audit", params={"person": "miner", "result": "refused"}))["items"]
        await asyncio.sleep(0.1)
    assert {item["refused"] for item in refused} == {"account_disabled"}
    await admin.post("/admin/people/miner/resume", None, 200)
    assert (await miner.get("/me", 401))["code"] == "token_not_valid"
    again = await signed_in(service, "miner", "sandbox")
    assert (await again.get(f"/trainings/{running['id']}"))["created_by"] == "miner"


async def test_a_suspension_by_other_means_ends_runs_too(service: Running) -> None:
    person = await signed_in(service, "leaver", "sandbox")
    run = await person.train("echo up; sleep 600")
    await person.says(run["id"], "up")
    async with service.database.write() as session:
        row = await people.person_named(session, "leaver")
        assert row
        row.disabled = True
    colleague = await signed_in(service, "colleague", "sandbox")
    assert (await colleague.ended(run["id"]))["phase"] in {"canceled", "killed"}


async def test_a_suspended_account_refuses_its_own_password_with_the_reason(service: Running, admin: Caller) -> None:
    password = (await admin.post("/admin/people", {"name": "gone"}))["password"]
    await admin.post("/admin/people/gone/suspend", {}, 200)
    found = await checked(service, "gone", password)
    assert isinstance(found, Refused) and found.why is Refusal.DISABLED
    wrong = await checked(service, "gone", "wrong")
    assert isinstance(wrong, Refused) and wrong.why is Refusal.WRONG
