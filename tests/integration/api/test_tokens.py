"""Tokens for programs: narrowed, listed, revoked; and those of runs, which live as long as their run."""

import httpx
import pytest
from sqlalchemy import delete, select, update

from kqi_hub.accounts import devices
from kqi_hub.identity import people
from kqi_hub.identity.policy import RUN_TOKEN
from kqi_hub.identity.rows import MembershipRow, PersonRow, TenantRow, TokenRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_token_is_shown_once_and_kept_as_a_hash(service: Running, alice: Caller) -> None:
    made = await alice.post("/tokens", {"name": "ci", "days": 90}, headers={"Idempotency-Key": "once"})
    again = await alice.post("/tokens", {"name": "ci", "days": 90}, headers={"Idempotency-Key": "once"})
    assert again == made  # a client that lost the answer gets it by asking again
    listed = await alice.get("/tokens")
    assert made["token"] not in str(listed)
    async with service.database.read() as session:
        rows = [str(vars(row)) for row in (await session.execute(select(TokenRow))).scalars()]
        connection = await session.connection()
        kept = (await connection.exec_driver_sql("SELECT body, sealed FROM idempotency")).all()
    assert not any(made["token"] in text for text in [*rows, *map(str, kept)])


async def test_a_token_is_narrowed_to_a_tenant_and_to_capabilities(service: Running, alice: Caller) -> None:
    other = await _joins(service, alice.name, "second-of-" + alice.tenant)
    made = await alice.post("/tokens", {"name": "ci", "tenant": alice.tenant, "capabilities": ["data.read"]})
    assert (made["info"]["tenant"], made["info"]["capabilities"]) == (alice.tenant, ["data.read"])
    async with _with(alice, made["token"]) as ci:
        me = await ci.get("/me")
        assert me["capabilities"] == ["data.read"]
        assert me["token"] == {
            **{"id": made["info"]["id"], "name": "ci", "run": False, "tenant": alice.tenant},
            "expires_at": made["info"]["expires_at"],
        }
        await ci.get("/data")
        await ci.get("/data", 404, params={"tenant": other})
        refused = await ci.post("/trainings", {"command": "true"}, 403)
        assert refused["code"] == "not_permitted"
        for path in ("/data", "/datasets", "/tokens"):
            await ci.post(path, {"name": "x"}, 403)
    listed = {item["id"]: item for item in (await alice.get("/tokens"))["items"]}[made["info"]["id"]]
    assert listed["last_used_at"] and listed["last_used_from"] == "127.0.0.1"


async def test_a_narrowed_token_makes_none_that_is_wider(service: Running, alice: Caller) -> None:
    other = await _joins(service, alice.name, "third-of-" + alice.tenant)
    narrow = {"tenant": alice.tenant, "capabilities": ["account.manage", "data.read"]}
    made = await alice.post("/tokens", {"name": "narrow", "days": 2, **narrow})
    async with _with(alice, made["token"]) as program:
        for wider in ({"tenant": other}, {"capabilities": ["data.read", "run.submit"]}):
            refused = await program.post("/tokens", {"name": "wider", **wider}, 403)
            assert refused["code"] == "token_wider"
        same = await program.post("/tokens", {"name": "same", "days": 3650})
        for key, value in narrow.items():
            assert same["info"][key] == value
        assert same["info"]["expires_at"] <= made["info"]["expires_at"]
        # Who approves a device lets in a program that may do all.
        device = await program.post("/device", {"client": "trick"}, 200)
        pages = str(alice.client.base_url).removesuffix("/api/v1/")
        asked = {"code": device["user_code"], "answer": "approve"}
        approved = await program.client.post(f"{pages}/device", params=asked)
        assert (approved.status_code, approved.json()["code"]) == (403, "token_wider")
    mixed = {"name": "mixed", "tenant": alice.tenant, "capabilities": ["people.read"]}
    assert (await alice.post("/tokens", mixed, 422))["code"] == "token_capability_not_of_tenant"
    unknown = {"name": "unknown", "capabilities": ["root"]}
    assert (await alice.post("/tokens", unknown, 422))["code"] == "capability_unknown"


async def test_a_token_for_a_tenant_has_nothing_of_its_persons_rights_over_the_platform(service: Running) -> None:
    async with await signed_in(service, "chief-of-tokens", "chiefs", administrator=True) as chief:
        made = await chief.post("/tokens", {"name": "x", "tenant": "chiefs"})
        texts = {"ja": "規約", "zh": "条款", "en": "terms"}
        async with _with(chief, made["token"]) as program:
            assert "platform" in (await chief.get("/me"))["capabilities"]
            assert "platform" not in (await program.get("/me"))["capabilities"]
            await program.post("/terms", texts, 403)
            await program.post("/tokens", {"name": "y"}, 403)


async def test_a_token_is_worth_nothing_in_a_tenant_that_its_person_has_left(service: Running, alice: Caller) -> None:
    await _joins(service, alice.name, "left-by-" + alice.tenant)
    made = await alice.post("/tokens", {"name": "ci", "tenant": "left-by-" + alice.tenant})
    async with _with(alice, made["token"]) as program:
        await program.get("/data")
        async with service.database.write() as session:
            left = (
                await session.execute(select(TenantRow).where(TenantRow.name == "left-by-" + alice.tenant))
            ).scalar()
            assert left
            await session.execute(delete(MembershipRow).where(MembershipRow.tenant_id == left.id))
        await program.get("/data", 403)
        await program.post("/trainings", {"command": "true"}, 403)
        assert (await program.get("/me"))["capabilities"] == []


async def test_a_token_ends_when_it_is_revoked_expires_or_its_person_is_suspended(
    service: Running, alice: Caller
) -> None:
    made = [await alice.post("/tokens", {"name": name}) for name in ("revoked", "expired", "suspended")]
    callers = [_with(alice, one["token"]) for one in made]
    for caller in callers:
        await caller.get("/me")
    await alice.delete(f"/tokens/{made[0]['info']['id']}")
    await callers[0].get("/me", 401)
    async with service.database.write() as session:
        row = await session.get_one(TokenRow, made[1]["info"]["id"])
        row.expires_at = row.created_at
    await callers[1].get("/me", 401)
    await _suspend(service, alice.name)
    assert (await callers[2].get("/me", 403))["code"] == "account_disabled"
    for caller in callers:
        await caller.client.aclose()


async def test_a_run_token_lives_as_long_as_its_run_and_no_longer_than_its_person_may(
    service: Running, alice: Caller
) -> None:
    run, token = await _at_work(alice)
    async with _with(alice, token) as program:
        me = await program.get("/me")
        assert me["token"]["run"] and me["token"]["expires_at"] is None
        assert set(me["capabilities"]) <= {p.value for p in RUN_TOKEN} and "run.submit" in me["capabilities"]
        await program.post("/tokens", {"name": "x"}, 403)
        await program.delete("/tokens/current", 404)
        async with service.database.write() as session:
            await session.execute(update(PersonRow).where(PersonRow.name == alice.name).values(disabled=True))
        assert (await program.get("/me", 403))["code"] == "account_disabled"
        async with service.database.write() as session:
            await session.execute(update(PersonRow).where(PersonRow.name == alice.name).values(disabled=False))
        await program.get("/me")
        await alice.post(f"/trainings/{run}/stop", {"mode": "kill"}, 200)
        await alice.ended(run)
        await program.get("/me", 401)


async def test_code_in_a_run_changes_what_is_its_persons_and_nothing_of_the_others(
    service: Running, alice: Caller
) -> None:
    run, token = await _at_work(alice)
    async with await signed_in(service, f"mate-of-{alice.name}", alice.tenant) as mate, _with(alice, token) as program:
        theirs, flat = (await mate.data({"a.txt": b"a"}))["id"], (await mate.dataset({"flat": []}))["id"]
        await alice.patch(f"/data/{theirs}", {"memo": "a colleague's"})
        for place in (f"/data/{theirs}", f"/datasets/{flat}"):
            assert (await program.client.patch(place, json={"memo": "m"})).json()["code"] == "not_owner"
            assert (await program.client.delete(place)).json()["code"] == "not_owner"
        own = await alice.data({"b.txt": b"b"})
        assert (await program.patch(f"/data/{own['id']}", {"memo": "m"}))["memo"] == "m"
        for place in ("/notifications", "/credentials", "/tokens", "/ssh-keys"):
            assert (await program.get(place, 403))["code"] == "not_permitted"
    await alice.post(f"/trainings/{run}/stop", {"mode": "kill"}, 200)


async def test_who_begins_many_sign_ins_keeps_nobody_else_from_it(service: Running) -> None:
    place = f"{service.url}/services/kqi/api/v1/device"
    flood = httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    async with httpx.AsyncClient(transport=flood) as flooder, httpx.AsyncClient() as other:
        for _ in range(devices.MOST_OF_ADDRESS):
            assert (await flooder.post(place, json={"client": "flood"})).status_code == 200
        refused = await flooder.post(place, json={"client": "flood"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
        assert int(refused.headers["retry-after"]) > 0
        assert (await other.post(place, json={"client": "laptop"})).status_code == 200


async def _at_work(alice: Caller) -> tuple[int, str]:
    """Return the number of a run that is at work, and its token."""
    run: int = (await alice.train("echo $KQI_TOKEN; sleep 600"))["id"]
    await alice.until(run, "running")
    text = ""
    async with alice.client.stream("GET", f"/trainings/{run}/log", params={"follow": True}) as log:
        async for piece in log.aiter_text():
            text += piece
            if "\n" in text:
                break
    return run, text.strip()


async def _suspend(service: Running, name: str) -> None:
    async with service.database.write() as session:
        await session.execute(update(PersonRow).where(PersonRow.name == name).values(disabled=True))


async def _joins(service: Running, name: str, tenant: str) -> str:
    async with service.database.write() as session:
        person = await people.person_named(session, name)
        assert person
        row = await people.ensure_tenant(session, tenant, tenant)
        session.add(MembershipRow(person_id=person.id, tenant_id=row.id, role="researcher"))
    return tenant


def _with(caller: Caller, token: str) -> Caller:
    client = httpx.AsyncClient(
        base_url=caller.client.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=60
    )
    return Caller(client, caller.name, caller.tenant)
