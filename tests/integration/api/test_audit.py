"""The audit log at the API: found, exported, verified, and what is refused is in it."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text, update

from kqi_hub.clock import now
from kqi_hub.identity import people
from kqi_hub.identity.rows import MembershipRow, TokenRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def admin(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "admin-of-audit", "sandbox", administrator=True) as caller:
        yield caller


async def entries(admin: Caller, **wanted: Any) -> list[Any]:
    return list((await admin.get("/admin/audit", params=wanted))["items"])


async def test_an_entry_says_who_did_what_from_where_with_which_token(admin: Caller, alice: Caller) -> None:
    data = await alice.data({"a.txt": b"a"})
    found = await entries(admin, person=alice.name)
    assert [(item["action"], item["object"], item["tenant"], item["refused"]) for item in found] == [
        ("data.create", f"data/{data['id']}", alice.tenant, "")
    ]
    assert found[0]["address"] == "127.0.0.1" and found[0]["token"]


async def test_entries_are_found_by_each_thing_they_say(admin: Caller, alice: Caller) -> None:
    before = now() - timedelta(seconds=1)
    data = await alice.data({"a.txt": b"a"})
    await alice.patch(f"/data/{data['id']}", {"memo": "x"})
    await alice.get("/admin/audit", 403)
    thing = f"data/{data['id']}"
    assert [item["action"] for item in await entries(admin, object=thing)] == ["data.change", "data.create"]
    assert len(await entries(admin, person=alice.name, action="data.*")) == 2
    assert len(await entries(admin, tenant=alice.tenant, action="data.create")) == 1
    assert len(await entries(admin, person=alice.name, since=before.isoformat())) == 3
    assert await entries(admin, person=alice.name, until=before.isoformat()) == []
    assert [item["refused"] for item in await entries(admin, person=alice.name, result="refused")] == ["not_permitted"]
    assert len(await entries(admin, person=alice.name, result="done")) == 2


async def test_pages_hold_every_entry_once_while_others_are_written(admin: Caller, alice: Caller) -> None:
    for _ in range(5):
        await alice.data({"a.txt": b"a"})
    seen: list[int] = []
    cursor = None
    while True:
        params = {"person": alice.name, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await admin.get("/admin/audit", params=params)
        seen += [item["id"] for item in page["items"]]
        await alice.data({"a.txt": b"a"})
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == 5 and seen == sorted(set(seen), reverse=True)


async def test_what_a_person_and_a_token_may_not_do_is_on_record(admin: Caller, alice: Caller) -> None:
    for _ in range(20):
        await alice.put("/data-types", {"names": ["x"]}, 403)
    found = await entries(admin, person=alice.name, result="refused")
    assert [(item["action"], item["object"], item["refused"]) for item in found] == [
        ("set_data_types", "data-types", "not_permitted")
    ]
    assert found[0]["token"] and found[0]["address"] == "127.0.0.1"


async def test_only_those_who_may_read_the_log_see_it(service: Running, alice: Caller) -> None:
    for path in ("/admin/audit", "/admin/audit/export", "/admin/audit/verify"):
        assert (await alice.get(path, 403))["code"] == "not_permitted"
    async with httpx.AsyncClient(base_url=f"{service.url}/services/kqi/api/v1") as nobody:
        assert (await nobody.get("/admin/audit")).status_code == 401


async def test_the_export_is_one_entry_a_line_and_is_itself_on_record(admin: Caller, alice: Caller) -> None:
    await alice.data({"a.txt": b"a"})
    answer = await admin.client.get("/admin/audit/export", params={"person": alice.name})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["action"] for line in lines] == ["data.create"]
    newest = (await entries(admin, action="audit.export"))[0]
    assert newest["person"] == admin.name and newest["details"] == {"person": alice.name}


async def test_the_log_of_all_these_tests_is_whole(admin: Caller) -> None:
    verdict = await admin.get("/admin/audit/verify")
    assert verdict["whole"] and verdict["faults"] == [] and verdict["entries"] == verdict["last"] > 0


@pytest.mark.parametrize(
    "wanted",
    [{"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"result": "x"}, {"person": "a" * 65}, {"cursor": "x"}],
)
async def test_a_search_that_means_nothing_is_refused(admin: Caller, wanted: dict[str, str]) -> None:
    await admin.get("/admin/audit", 422, params=wanted)


@pytest.mark.parametrize("wanted", ["%", "_", "*", "**", "'; DROP TABLE audit; --", "\U0010ffff*"])
async def test_signs_in_a_search_mean_themselves(admin: Caller, wanted: str) -> None:
    for field in ("action", "object", "person", "tenant"):
        found = await entries(admin, **{field: wanted}, limit=1000)
        assert field in {"action", "object"} or found == []


async def test_an_answer_with_a_secret_is_sealed_while_it_is_kept(service: Running, admin: Caller) -> None:
    headers = {"Idempotency-Key": f"once-{admin.name}"}
    body = {"name": f"once-{admin.name}"}
    made = await admin.post("/admin/people", body, headers=headers)
    assert await admin.post("/admin/people", body, headers=headers) == made
    async with service.database.read() as session:
        kept = (await session.execute(text("SELECT body FROM idempotency"))).scalars().all()
    assert not any(made["password"] in body for body in kept)


async def test_what_is_done_to_a_thing_is_on_record_in_the_things_tenant(admin: Caller, alice: Caller) -> None:
    other = f"other-of-{alice.name}"
    await alice.post("/tenants", {"name": other})
    alice.client.params = httpx.QueryParams(tenant=other)  # where new things go: items are found without it
    data = (await alice.data({"a.txt": b"a"}))["id"]
    files = await alice.upload({"b.txt": b"b"})
    flat = {"flat": [data]}
    dataset = (await alice.dataset(flat))["id"]
    run = (await alice.train("sleep 600"))["id"]
    alice.client.params = httpx.QueryParams()
    things = {"data": f"/data/{data}", "dataset": f"/datasets/{dataset}", "training": f"/trainings/{run}"}
    for place in things.values():
        await alice.patch(place, {"memo": "m"})
        share = await alice.post(f"{place}/shares", {"tenant": alice.tenant})
        await alice.delete(f"{place}/shares/{share['id']}")
    await alice.post(f"{things['data']}/files", {"files": files}, 200)
    await alice.post(f"{things['data']}/files/remove", {"paths": ["b.txt"]}, 200)
    await alice.post(f"{things['dataset']}/versions", flat)
    attachment = f"{things['training']}/attachments/note.txt"
    assert (await alice.client.put(attachment, content=b"x")).status_code == 204
    await alice.delete(attachment)
    await alice.post(f"{things['training']}/stop", {"mode": "kill"}, 200)
    await alice.ended(run)
    for kind in ("training", "dataset", "data"):
        await alice.delete(things[kind])
    found = await entries(admin, person=alice.name, result="done", limit=100)
    assert {item["action"] for item in found if item["tenant"] == other} == {
        *("data.create", "data.change", "data.add_files", "data.remove_files", "data.delete"),
        *("dataset.create", "dataset.change", "dataset.version", "dataset.delete", "share.add", "share.remove"),
        *("run.submit", "run.change", "run.attach", "run.detach", "run.stop", "run.delete", "tenant.create"),
    }
    assert [item["action"] for item in found if item["tenant"] != other] == []


async def test_a_token_that_has_ended_is_refused_on_record_and_a_strangers_is_not(
    service: Running, admin: Caller, alice: Caller
) -> None:
    made = await alice.post("/tokens", {"name": "old", "tenant": alice.tenant})
    async with service.database.write() as session:
        ended = update(TokenRow).where(TokenRow.id == made["info"]["id"]).values(expires_at=now())
        await session.execute(ended)
    before = (await entries(admin, limit=1))[0]["id"]
    for text_of in (made["token"], "kqi_of-nobody"):
        headers = {"Authorization": f"Bearer {text_of}"}
        assert (await alice.get("/data", 401, headers=headers))["code"] == "token_not_valid"
    found = [item for item in await entries(admin, result="refused") if item["id"] > before]
    assert [(item["person"], item["token"], item["tenant"]) for item in found] == [
        (alice.name, made["info"]["id"], alice.tenant)
    ]
    assert (found[0]["action"], found[0]["refused"]) == ("list_data", "token_not_valid")


async def test_a_refusal_names_the_tenant_in_which_it_was(
    service: Running, admin: Caller, alice: Caller, stranger: Caller
) -> None:
    async with service.database.write() as session:
        tenant = await people.ensure_tenant(session, alice.tenant, alice.tenant)
        person = await people.person_named(session, stranger.name)
        assert person is not None
        session.add(MembershipRow(person_id=person.id, tenant_id=tenant.id, role="user"))
    data = (await alice.data({"a.txt": b"a"}))["id"]
    await stranger.patch(f"/data/{data}", {"memo": "m"}, 403)
    await stranger.put(f"/tenants/{alice.tenant}/members/{alice.name}", {"role": "viewer"}, 403)
    train = {"command": "true"}
    await stranger.post("/trainings", train, 403, params={"tenant": alice.tenant})
    found = await entries(admin, person=stranger.name, tenant=alice.tenant, result="refused")
    assert [(item["action"], item["refused"]) for item in found] == [
        ("create_training", "not_permitted"),
        ("set_member", "not_permitted"),
        ("change_data", "not_owner"),
    ]
