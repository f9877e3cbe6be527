"""The whole OpenAPI, by generated requests, as everybody: no 5xx and no answer outside of the schema."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from kqi_hub.testing.service import Running
from tests import database
from tests.integration.api.caller import Caller, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3600)]

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# Long polls and followed logs answer late by design; a device sign-in is bounded by its own limit.
# Revoking tokens and ending sessions would sign the tester out in the middle; published terms would keep everybody out.
_FULL = os.environ.get("KQI_DRILLS") == "full"
_EXAMPLES = "25" if _FULL else "5"
_LEFT_OUT = (
    *("get_training_log", "get_notebook_log", "revoke_token", "revoke_current_token", "publish_terms"),
    *("end_session", "end_sessions", "suspend_person", "delete_person"),
)


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
    (tmp_path / "schemathesis.toml").write_text("[generation]\nallow-x00 = true\n")
    process = await asyncio.create_subprocess_exec(
        *(
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file",
            str(tmp_path / "schemathesis.toml"),
            "run",
        ),
        f"{service.url}/services/kqi/api/v1/openapi.json",
        *("-c", _CHECKS, "-n", _EXAMPLES, "-w", "1", "--seed", "7", "--request-timeout", "60"),
        *("--phases", _phases(who), "--generation-database", "none", "--suppress-health-check", "all"),
        *(word for name in _LEFT_OUT for word in ("--exclude-operation-id", name)),
        *(("--header", f"Authorization: {token}") if token else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-20000:]
    if tester:
        # A tester who lost the token on the way would have seen nothing but 401.
        await tester.get("/me")
        await tester.leave()


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
