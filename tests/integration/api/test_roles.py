"""Roles as a matrix, roles over the platform, mappings of a directory's groups, and the sync of all its people."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from kqi_hub.clock import now
from kqi_hub.directory.arrival import Arrived, arrive
from kqi_hub.directory.base import Entry, Group
from kqi_hub.identity import people, tokens
from kqi_hub.identity.rows import PersonRow
from kqi_hub.jupyterhub.authenticator import KqiAuthenticator
from kqi_hub.settings import load
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database
from tests.integration.api.caller import Caller, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def root(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "root", "sandbox", administrator=True) as caller:
        yield caller


async def changed_roles(root: Caller, roles: list[dict[str, Any]], status: int = 200) -> httpx.Response:
    seen = await root.client.get("/roles")
    answer = await root.client.put("/roles", json={"roles": roles}, headers={"If-Match": seen.headers["ETag"]})
    assert answer.status_code == status, answer.text
    return answer


async def test_a_role_of_ones_own_gives_exactly_what_it_says(root: Caller, alice: Caller, stranger: Caller) -> None:
    await changed_roles(root, [{"name": "labeller", "capabilities": ["data.read", "data.write", "tenant.read"]}])
    matrix = await alice.get("/roles")
    assert [role["name"] for role in matrix["roles"] if not role["built_in"]] == ["labeller"]
    await root.put(f"/tenants/{alice.tenant}/members/{stranger.name}", {"role": "labeller"})
    where = {"tenant": alice.tenant}
    await stranger.post("/data", {"name": "d"}, params=where)
    await stranger.get("/datasets", params=where, status=403)
    refused = await changed_roles(root, [], status=409)
    assert refused.json()["code"] == "role_in_use"
    await root.delete(f"/tenants/{alice.tenant}/members/{stranger.name}")
    await changed_roles(root, [])


async def test_a_change_of_roles_made_on_an_old_state_is_refused(root: Caller) -> None:
    first = (await root.client.get("/roles")).headers["ETag"]
    await changed_roles(root, [{"name": "reader", "capabilities": ["data.read"]}])
    for headers in ({"If-Match": first}, {}):
        answer = await root.client.put("/roles", json={"roles": []}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (412, "changed_meanwhile")
    again = await changed_roles(root, [])
    assert again.headers["ETag"] == first == (await root.client.get("/roles")).headers["ETag"]


@pytest.mark.parametrize(
    ("role", "code"),
    [
        ({"name": "manager", "capabilities": []}, "role_name_not_valid"),
        ({"name": "dev", "capabilities": []}, "role_name_not_valid"),
        ({"name": "Reader", "capabilities": []}, "role_name_not_valid"),
        ({"name": "reader", "capabilities": ["people.manage"]}, "capability_unknown"),
        ({"name": "reader", "capabilities": ["data.read"], "level": "platform"}, "capability_unknown"),
    ],
)
async def test_a_role_that_cannot_be_is_refused(root: Caller, role: dict[str, Any], code: str) -> None:
    assert (await changed_roles(root, [role], status=422)).json()["code"] == code


async def test_the_last_administrator_stays_one(root: Caller, alice: Caller) -> None:
    others = [one["person"] for one in (await root.get("/roles/people"))["items"] if one["role"] == "administrator"]
    for name in others:
        if name != "root":
            await root.put(f"/roles/people/{name}", {"role": None})
    refused = await root.put("/roles/people/root", {"role": "auditor"}, status=409)
    assert refused["code"] == "last_administrator"
    await root.put(f"/roles/people/{alice.name}", {"role": "auditor"})
    await alice.get("/roles/people")
    await alice.put(f"/roles/people/{alice.name}", {"role": "administrator"}, status=403)
    await root.put(f"/roles/people/{alice.name}", {"role": None})
    await alice.get("/roles/people", status=403)


async def test_nobody_gives_away_what_they_do_not_have(root: Caller, alice: Caller) -> None:
    keeper = {"name": "keeper", "level": "platform", "capabilities": ["roles.manage", "people.read"]}
    await changed_roles(root, [keeper])
    await root.put(f"/roles/people/{alice.name}", {"role": "keeper"})
    await alice.put("/roles/people/root", {"role": None}, 403)
    assert (await alice.put(f"/roles/people/{alice.name}", {"role": "administrator"}, 403))[
        "code"
    ] == "beyond_own_rights"
    more = {**keeper, "capabilities": [*keeper["capabilities"], "audit.read"]}
    assert (await changed_roles(alice, [more], status=403)).json()["code"] == "beyond_own_rights"
    await root.put(f"/roles/people/{alice.name}", {"role": None})
    await changed_roles(root, [])


async def test_who_keeps_the_mappings_alone_maps_nobody_to_a_role(root: Caller, alice: Caller) -> None:
    await changed_roles(root, [{"name": "mapper", "level": "platform", "capabilities": ["platform"]}])
    await root.put(f"/roles/people/{alice.name}", {"role": "mapper"})
    to_a_tenant = {"kind": "group-direct", "value": "g", "tenant": "sandbox", "role": "manager"}
    over_all = {"kind": "group-direct", "value": "g", "role": "mapper"}
    refused = [await alice.post("/mappings", body, 403) for body in (to_a_tenant, over_all)]
    assert [(answer["code"], answer["params"]["permission"]) for answer in refused] == [
        ("beyond_own_rights", "tenants.manage"),
        ("beyond_own_rights", "roles.manage"),
    ]
    await root.put(f"/roles/people/{alice.name}", {"role": None})
    await changed_roles(root, [])


async def test_a_role_that_only_manages_a_tenant_makes_no_manager(
    root: Caller, alice: Caller, stranger: Caller
) -> None:
    host = {"name": "host", "capabilities": ["tenant.read", "tenant.manage"]}
    await changed_roles(root, [host, {"name": "guest", "capabilities": ["tenant.read"]}])
    members = f"/tenants/{alice.tenant}/members"
    await root.put(f"{members}/{alice.name}", {"role": "host"})
    for name in (alice.name, stranger.name):
        refused = await alice.put(f"{members}/{name}", {"role": "manager"}, 403)
        assert refused["code"] == "beyond_own_rights"
    assert (await alice.put(f"{members}/{stranger.name}", {"role": "guest"}))["role"] == "guest"
    await root.put(f"{members}/{alice.name}", {"role": "manager"})
    assert (await alice.put(f"{members}/{stranger.name}", {"role": "manager"}))["role"] == "manager"
    await root.delete(f"{members}/{alice.name}")
    await changed_roles(root, [])


def of_the_lab(name: str, *groups: Group, unit: str = "ou=lab") -> Entry:
    return Entry(name=name, source="ldap", directory_id=f"id-of-{name}", dn=f"uid={name},{unit},dc=x", groups=groups)


async def arrived(service: Running, entry: Entry) -> Arrived:
    async with service.database.write() as session:
        (found,) = await arrive(session, [entry], default_tenant="sandbox")
    assert isinstance(found, Arrived)
    return found


async def test_groups_and_units_of_the_directory_give_roles_and_take_only_those(
    service: Running, root: Caller, alice: Caller
) -> None:
    lab, other = alice.tenant, f"{alice.tenant}-b"
    await root.post("/tenants", {"name": other})
    made = [
        await root.post("/mappings", {"kind": kind, "value": value, "tenant": tenant, "role": role})
        for kind, value, tenant, role in (
            ("group-direct", "students", lab, "users"),
            ("group-nested", "CN=Staff, DC=x", lab, "creator"),
            ("ou-direct", "ou=lab,dc=x", other, "viewer"),
        )
    ]
    name = f"carol-{lab}"
    students, staff = Group(name="Students"), Group(name="staff", dn="cn=staff,dc=x", direct=False)
    assert set((await arrived(service, of_the_lab(name, students))).tenants) == {"sandbox", lab, other}
    await root.put(f"/tenants/{other}/members/{name}", {"role": "dev"})
    await arrived(service, of_the_lab(name, students, staff, unit="ou=a,ou=lab"))
    members = {one["person"]: one for one in (await root.get(f"/tenants/{lab}/members"))["items"]}
    assert (members[name]["role"], members[name]["directory_role"]) == (None, "manager")
    assert (await root.delete(f"/tenants/{lab}/members/{name}", status=409))["code"] == "member_by_directory"
    await arrived(service, of_the_lab(name, unit="ou=away"))
    kept = {one["person"]: one for one in (await root.get(f"/tenants/{other}/members"))["items"]}
    assert (kept[name]["role"], kept[name]["directory_role"]) == ("researcher", None)
    assert name not in [one["person"] for one in (await root.get(f"/tenants/{lab}/members"))["items"]]
    for mapping in made:
        await root.delete(f"/mappings/{mapping['id']}")


async def test_a_sync_does_exactly_what_its_preview_showed(
    service: Running, directory: MemoryDirectory, root: Caller, alice: Caller
) -> None:
    names = [f"dora-{alice.tenant}", f"emil-{alice.tenant}"]
    for name in names:
        directory.put(of_the_lab(name, Group(name=alice.tenant)))
        await arrived(service, of_the_lab(name))
    mapping = {"kind": "group-direct", "value": alice.tenant, "tenant": alice.tenant, "role": "viewer"}
    made = await root.post("/mappings", mapping)
    shown = await root.post("/mappings/preview", status=200)
    mine = [(one["person"], one["before"], one["after"]) for one in shown["changes"] if one["tenant"] == alice.tenant]
    assert mine == [(name, None, "viewer") for name in names]
    directory.put(of_the_lab(names[0]))
    refused = await root.post("/mappings/apply", {"digest": shown["digest"]}, status=409)
    assert refused["code"] == "preview_outdated"
    fresh = await root.post("/mappings/preview", status=200)
    done = await root.post("/mappings/apply", {"digest": fresh["digest"]}, status=200)
    assert done["changes"] == fresh["changes"]
    there = {one["person"] for one in (await root.get(f"/tenants/{alice.tenant}/members"))["items"]}
    assert there & set(names) == {names[1]}
    assert (await root.post("/mappings/preview", status=200))["changes"] == []
    directory.away = True
    assert (await root.post("/mappings/preview", status=503))["code"] == "directory_unreachable"
    directory.away = False
    await root.delete(f"/mappings/{made['id']}")


async def test_who_is_signed_in_already_has_a_new_mapping_with_the_next_look_at_them(
    service: Running, directory: MemoryDirectory, root: Caller, alice: Caller
) -> None:
    entry = of_the_lab(f"frida-{alice.tenant}", Group(name=f"late-{alice.tenant}"))
    directory.put(entry)
    await arrived(service, directory.entries[entry.name])
    hub = KqiAuthenticator(platform=service.settings)
    hub.directory = directory

    async def groups() -> list[str]:
        found = await hub.refresh_user(SimpleNamespace(name=entry.name))
        assert isinstance(found, dict)
        return list(found["groups"])

    try:
        assert [await groups() for _ in range(2)] == [["sandbox"]] * 2
        mapping = {"kind": "group-direct", "value": f"late-{alice.tenant}", "tenant": alice.tenant, "role": "viewer"}
        made = await root.post("/mappings", mapping)
        assert sorted(await groups()) == sorted(["sandbox", alice.tenant])
        await root.delete(f"/mappings/{made['id']}")
        assert await groups() == ["sandbox"]
    finally:
        await hub.database.close()


async def test_who_has_a_name_anew_does_not_let_the_earlier_holder_of_it_in_again(
    service: Running, directory: MemoryDirectory, alice: Caller
) -> None:
    entry = of_the_lab(f"nomen-{alice.tenant}")
    directory.put(entry)
    await arrived(service, entry)
    hub = KqiAuthenticator(platform=service.settings)
    hub.directory = directory
    user = SimpleNamespace(name=entry.name)
    try:
        assert await hub.refresh_user(user)
        directory.put(replace(entry, directory_id="id-of-another"))
        assert [await hub.refresh_user(user) for _ in range(3)] == [False] * 3
        directory.put(entry)
        assert await hub.refresh_user(user)
    finally:
        await hub.database.close()


async def test_a_directory_does_not_take_the_last_administrator(tmp_path: Path) -> None:
    """Whoever nobody could undo: a sync refuses, and who signs in stays one until there is another."""
    directory = MemoryDirectory()
    settings = load(environ={}, state=tmp_path, server={"port": free_port()}, database=database.fresh())
    boss = replace(of_the_lab("boss"), administrator=True)
    async with running(settings, MemoryBackend(), directory) as alone:
        directory.put(boss)
        assert (await arrived(alone, boss)).administrator
        async with await signed_in(alone, "boss", "sandbox") as caller:
            directory.put(replace(boss, administrator=False))
            shown = await caller.post("/mappings/preview", status=200)
            assert [(one["person"], one["before"], one["after"]) for one in shown["changes"]] == [
                ("boss", "administrator", None)
            ]
            refused = await caller.post("/mappings/apply", {"digest": shown["digest"]}, status=409)
            assert refused["code"] == "last_administrator"
            assert (await arrived(alone, directory.entries["boss"])).administrator
            async with await signed_in(alone, "other", "sandbox", administrator=True):
                await gone(alone, "other", since=now())
                refused = await caller.post("/mappings/apply", {"digest": shown["digest"]}, status=409)
                assert refused["code"] == "last_administrator"
                await gone(alone, "other", since=None)
                await caller.post("/mappings/apply", {"digest": shown["digest"]}, status=200)
            await caller.get("/roles/people", status=403)
        assert not (await arrived(alone, directory.entries["boss"])).administrator


async def gone(service: Running, name: str, *, since: datetime | None) -> None:
    """Have somebody be gone from their directory, or be back."""
    async with service.database.write() as session:
        await session.execute(update(PersonRow).where(PersonRow.name == name).values(gone_at=since))


async def test_a_preview_waits_for_no_writer_and_leaves_out_who_cannot_be_asked_for(
    service: Running, directory: MemoryDirectory, root: Caller, alice: Caller
) -> None:
    names = [f"gina-{alice.tenant}", f"hugo-{alice.tenant}"]
    for name in names:
        directory.put(of_the_lab(name, Group(name=f"odd-{alice.tenant}")))
        await arrived(service, directory.entries[name])
    mapping = {"kind": "group-direct", "value": f"odd-{alice.tenant}", "tenant": alice.tenant, "role": "viewer"}
    made = await root.post("/mappings", mapping)
    directory.odd.add(names[0])
    async with service.database.write() as session:
        await session.execute(update(PersonRow).where(PersonRow.name == names[0]).values(display_name="being written"))
        shown = await root.post("/mappings/preview", status=200)
    assert [one["person"] for one in shown["changes"] if one["tenant"] == alice.tenant] == [names[1]]
    assert not {*names} & {*shown["gone"]}
    directory.odd.clear()
    await root.delete(f"/mappings/{made['id']}")


async def test_a_token_that_reads_only_cannot_manage(service: Running, alice: Caller) -> None:
    async with service.database.write() as session:
        person = await people.person_named(session, alice.name)
        assert person
        secret, row = await tokens.create(session, person.id, "narrow", lasts=timedelta(days=1))
        row.capabilities = '["data.read"]'
    narrow = {"Authorization": f"Bearer {secret.reveal()}"}
    assert (await alice.client.get("/data", headers=narrow)).status_code == 200
    assert (await alice.client.post("/data", json={"name": "x"}, headers=narrow)).status_code == 403
    assert (await alice.client.post("/tenants", json={"name": "narrow"}, headers=narrow)).status_code == 403
