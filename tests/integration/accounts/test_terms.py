"""Terms of service: published, accepted, on record; nobody goes on without, and running work does."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import delete, select

from kqi_hub.audit.log import AuditRow
from kqi_hub.terms.rows import AcceptanceRow, TermsRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
TEXTS = {"ja": "採掘は禁止です。", "zh": "禁止挖矿。", "en": "No mining."}


@pytest_asyncio.fixture(loop_scope="session")
async def chief(service: Running) -> AsyncIterator[Caller]:
    """An administrator; what they publish is taken back afterwards."""
    async with await signed_in(service, "chief", "chiefs", administrator=True) as caller:
        yield caller
    async with service.database.write() as session:
        await session.execute(delete(AcceptanceRow))
        await session.execute(delete(TermsRow))


async def test_nobody_goes_on_before_they_accept_the_version_in_force(
    service: Running, alice: Caller, chief: Caller
) -> None:
    await alice.get("/terms", 404)
    first = await chief.post("/terms", TEXTS)
    assert first["version"] == 1 and first["texts"] == TEXTS
    refused = await alice.get("/data", 403)
    assert (refused["code"], refused["params"]) == ("terms_not_accepted", {"version": 1})
    for path in ("/trainings", "/datasets", "/capacity"):
        assert (await alice.get(path, 403))["code"] == "terms_not_accepted"
    assert (await alice.get("/me"))["terms"] == {"current": 1, "accepted": 0}
    for language, text in TEXTS.items():
        shown = await alice.get("/terms", headers={"Accept-Language": language})
        assert (shown["text"], shown["accepted"]) == (text, False)
    assert (await alice.post("/terms/accept", {"version": 2}, 409))["code"] == "terms_not_current"
    assert (await alice.post("/terms/accept", {"version": 1}, 200))["accepted"]
    await alice.post("/terms/accept", {"version": 1}, 200)
    await alice.get("/data")
    async with service.database.read() as session:
        row = (await session.execute(select(AcceptanceRow))).scalar_one()
        entries = (await session.execute(select(AuditRow).where(AuditRow.action == "terms.accept"))).scalars().all()
    assert row.address == "127.0.0.1" and row.version == 1
    assert [(entry.person, entry.object) for entry in entries] == [(alice.name, "terms/1")]
    assert (await chief.get("/terms/1"))["accepted"] == 1
    await alice.post("/terms", TEXTS, 403)
    await chief.post("/terms/accept", {"version": 1}, 200)
    wanted = {"person": alice.name, "result": "refused", "action": "list_data"}
    kept_out = (await chief.get("/admin/audit", params=wanted))["items"]
    assert [(item["object"], item["refused"]) for item in kept_out] == [("data", "terms_not_accepted")]


async def test_work_that_was_under_way_goes_on_when_a_version_comes(
    service: Running, alice: Caller, stranger: Caller, chief: Caller
) -> None:
    running = await stranger.train("echo $KQI_TOKEN; sleep 600")
    await stranger.until(running["id"], "running")
    async with stranger.client.stream("GET", f"/trainings/{running['id']}/log", params={"follow": True}) as log:
        token = await anext(log.aiter_lines())
    version = (await chief.post("/terms", TEXTS))["version"]
    await alice.post("/terms/accept", {"version": version}, 200)
    ci = await alice.post("/tokens", {"name": "ci"})
    await chief.post("/terms", TEXTS)
    async with _by(alice, ci["token"]) as program, _by(stranger, token) as inside:
        await program.get("/data")  # made before, by who had accepted the one before
        await inside.get("/data")  # of a run
        later = await program.post("/tokens", {"name": "later"})
        async with _by(alice, later["token"]) as fresh:
            await fresh.get("/data", 403)
    await stranger.get("/data", 403)
    await chief.post("/terms/accept", {"version": version + 1}, 200)


def _by(caller: Caller, token: str) -> Caller:
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx.AsyncClient(base_url=caller.client.base_url, headers=headers, timeout=60)
    return Caller(client, caller.name, caller.tenant)
