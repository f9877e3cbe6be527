"""One's own profile."""

import pytest
from sqlalchemy import select

from kqi_hub.audit.log import AuditRow
from kqi_hub.identity import people
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_profile_is_shown_and_changed(service: Running, alice: Caller) -> None:
    changes = {
        **{"display_name": "アリス", "email": "alice@example.org"},
        **{"language": "ja", "time_zone": "Asia/Tokyo"},
    }
    changed = await alice.patch("/me", changes)
    assert {key: changed[key] for key in changes} == changes
    assert await alice.get("/me") == changed
    assert (await alice.patch("/me", {"email": "", "time_zone": ""}))["time_zone"] is None
    async with service.database.read() as session:
        query = select(AuditRow).where(AuditRow.object == f"person/{alice.name}")
        entries = list((await session.execute(query)).scalars())
    assert [(entry.action, entry.person, entry.address) for entry in entries] == [
        ("account.change", alice.name, "127.0.0.1")
    ] * 2
    assert "alice@example.org" not in str([entry.details for entry in entries])


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Asia/Tokyo ", "a" * 64])
async def test_time_zones_are_names_that_there_are(alice: Caller, zone: str) -> None:
    assert (await alice.patch("/me", {"time_zone": zone}, 422))["code"] == "time_zone_unknown"


@pytest.mark.parametrize("email", ["alice", "a@b c", "a@b@c", "@", "a@b\r\nBcc: x@y"])
async def test_a_mail_address_looks_like_one(alice: Caller, email: str) -> None:
    assert (await alice.patch("/me", {"email": email}, 422))["code"] == "invalid_request"


async def test_what_the_directory_says_is_changed_there(service: Running, alice: Caller) -> None:
    async with service.database.write() as session:
        person = await people.person_named(session, alice.name)
        assert person
        person.source, person.directory_id = "ldap", f"uid={alice.name}"
    for field in ({"display_name": "Another"}, {"email": "x@example.org"}):
        assert (await alice.patch("/me", field, 409))["code"] == "profile_of_directory"
    assert (await alice.patch("/me", {"language": "zh"}))["source"] == "ldap"
