"""The whole OpenAPI, by generated requests, as everybody: no 5xx and no answer outside of the schema."""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete

from kqi_hub.terms.rows import TermsRow
from kqi_hub.testing.directory import MemoryDirectory
from kqi_hub.testing.service import Running
from tests import database
from tests.integration.api.caller import Caller, signed_in
from tests.integration.api.serving import new_state, serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3600)]

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_FULL = os.environ.get("KQI_DRILLS") == "full"
_EXAMPLES = "25" if _FULL else "5"
# A followed log lasts as long as its run; the tester ends neither their own token nor their own account.
_CONFIGURATION = """
[generation]
allow-x00 = true
[[operations]]
include-operation-id = ["get_training_log", "get_notebook_log"]
parameters = {{ "query.follow" = false }}
[[operations]]
include-operation-id = "revoke_token"
parameters = {{ "path.token_id" = {spare} }}
[[operations]]
include-operation-id = ["end_session", "end_sessions", "suspend_person", "delete_person"]
parameters = {{ "path.name" = "openapi-victim" }}
"""
# What ends the tester's own token, or keeps everybody out, is tried apart, after all else.
_LAST = {"user": ("revoke_current_token",), "other tenant": ("revoke_current_token",)}
_LAST["administrator"] = ("revoke_current_token", "publish_terms")


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One for each who tries everything: they take rights from others, and leave work where they are let in no more."""
    with new_state() as state:
        async with serving(state, MemoryDirectory(), tmp_path_factory.getbasetemp()) as found:
            yield found


@pytest.mark.parametrize("who", ["anonymous", "user", "other tenant", "administrator"])
async def test_generated_requests_get_answers_of_the_schema(
    service: Running, alice: Caller, who: str, tmp_path: Path
) -> None:
    data = await alice.data({"f": b"x"})
    await alice.dataset({"flat": [data["id"]]})
    run = await alice.train("echo x > $KQI_ROOT/output/f")
    await alice.ended(run["id"])
    tester = await _tester(service, alice, who)
    token = tester.client.headers["authorization"] if tester else ""
    spare = (await tester.post("/tokens", {"name": "spare"}))["info"]["id"] if tester else 1
    await service.token("openapi-victim", "openapi-victim")
    (tmp_path / "schemathesis.toml").write_text(_CONFIGURATION.format(spare=spare))
    last = _LAST.get(who, ())
    await _generated(service, tmp_path, _phases(who), token, [("--exclude-operation-id", name) for name in last])
    if tester:
        # A tester who lost the token on the way would have seen nothing but 401.
        await tester.get("/me")
        assert spare not in {token["id"] for token in (await tester.get("/tokens"))["items"]}
    for name in last:
        ending = (await tester.post("/tokens", {"name": "last"}))["token"] if tester else ""
        try:
            await _generated(service, tmp_path, _phases(who), f"Bearer {ending}", [("--include-operation-id", name)])
        finally:
            async with service.database.write() as session:
                await session.execute(delete(TermsRow).where(TermsRow.published_by == f"openapi-{who}"))


async def _generated(
    service: Running, folder: Path, phases: str, token: str, chosen: Sequence[tuple[str, str]]
) -> None:
    """Send generated requests to the chosen operations, by the configuration in `folder`."""
    process = await asyncio.create_subprocess_exec(
        *(
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file",
            str(folder / "schemathesis.toml"),
            "run",
        ),
        f"{service.url}/services/kqi/api/v1/openapi.json",
        *("-c", _CHECKS, "-n", _EXAMPLES, "-w", "1", "--seed", "7", "--request-timeout", "60"),
        *("--phases", phases, "--generation-database", "none", "--suppress-health-check", "all"),
        *itertools.chain.from_iterable(chosen),
        *(("--header", f"Authorization: {token}") if token else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-20000:]


def _phases(who: str) -> str:
    """Return how much is tried: who is turned away anyway meets no value at its limits; one database is enough."""
    few = not _FULL and (who in {"anonymous", "other tenant"} or database.ON_POSTGRES)
    return "examples,fuzzing" if few else "examples,coverage,fuzzing"


async def _tester(service: Running, alice: Caller, who: str) -> Caller | None:
    if who == "anonymous":
        return None
    if who == "user":
        return alice
    return await signed_in(service, f"openapi-{who.split()[0]}", "openapi", administrator=who == "administrator")


async def test_every_route_declares_its_permission_and_its_errors(alice: Caller) -> None:
    document = await alice.get("/openapi.json")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "404" in operation["responses"], (method, path)
            assert operation["operationId"]
