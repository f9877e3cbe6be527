"""Every operation of the description, as everybody: the answer is the one that the table of permissions gives."""

import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi.routing import iter_route_contexts

from kqi_hub.identity.policy import Permission
from kqi_hub.testing.service import Running
from tests.integration.api.oracle import ACTORS, Actor, Answer, Operation, expected
from tests.integration.api.world import BODIES, FINE, World, world_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

_BASE = "/services/kqi"
# What each operation needs, reviewed in this one place: neither the routes nor the tests say otherwise.
PERMISSIONS: dict[str, str] = tomllib.loads((Path(__file__).parent / "permissions.toml").read_text())["permissions"]
# Their thing belongs to one person and not to a tenant, or there is none: who may is told that it is not there.
PERSONAL = {"get_upload", "put_part", "complete_upload", "revoke_token", "remove_ssh_key", "remove_credential"}
PERSONAL |= {"change_notification", "remove_notification", "test_notification"}
# A thing that is not there for anybody: what follows the permission is 404.
ABSENT = {"delete_mapping", "get_erasure", "remove_server", "withdraw_request", "accept_request", "decline_request"}
ABSENT |= {f"delete_{kind}_share" for kind in ("data", "dataset", "training", "notebook")}
ABSENT |= {"get_training_output", "get_training_attachment", "get_notebook_output", "get_notebook_attachment"}
ABSENT |= {"delete_training_attachment", "delete_notebook_attachment", "revoke_current_token"}
ABSENT |= {"get_terms", "get_terms_version", "accept_terms", "get_git_credential", "import_ssh_keys"}
ABSENT |= {"end_session", "get_errand", "approve_application", "decline_application"}
# Whoever may submit makes one of their own, though it is another's that is named.
COPIES = {"copy_dataset", "copy_training", "get_git_credential"}
# Of a tenant in the path: what everybody may know of an open one.
OPEN = {"get_tenant", "leave_tenant", "ask_to_join", "withdraw_request"}
# To leave is for who is in it.
ABSENT |= {"leave_tenant"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(service: Running) -> AsyncIterator[World]:
    made = await world_of(service)
    for actor in ACTORS:
        await made.meet(actor)
    yield made
    for client in (made.owner.client, *made.clients.values()):
        await client.aclose()


async def test_every_operation_answers_everybody_as_the_table_says(world: World) -> None:
    document = await world.owner.get("/openapi.json")
    operations = [
        _operation(method, path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]
    assert len(operations) > 80
    wrong = []
    for operation, described in operations:
        for actor in sorted(ACTORS, key=lambda actor: expected(operation, actor) is Answer.ALLOWED):
            answer = await _ask(world, operation, described, actor)
            if not _as_it_must_be(operation, actor, answer):
                got = f"{answer.status_code} {answer.text[:150]}"
                wrong.append(f"{operation.id} as {actor.name}: {_wanted(operation, actor)}, got {got}")
            if answer.status_code < 300:
                await world.restore(operation, actor)
    assert not wrong, "\n".join(wrong)


async def test_every_route_needs_the_permission_that_was_reviewed(service: Running) -> None:
    """Those that the description leaves out as well: pages, and what the hub asks."""
    needed = {}
    for route in iter_route_contexts(service.app.routes):
        assert route.methods and route.path_format, f"what is mounted answers to no table: {route}"
        permission = getattr(route.endpoint, "permission", Permission.PUBLIC)
        for method in route.methods - {"HEAD"}:
            needed[f"{method} {route.path_format.removeprefix(_BASE)}"] = permission.value
    assert needed == PERMISSIONS


async def test_the_description_tells_what_each_operation_needs(world: World) -> None:
    document = await world.owner.get("/openapi.json")
    told = {
        f"{method.upper()} {path.removeprefix(_BASE)}": one["x-permission"]
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    }
    assert told.items() <= PERMISSIONS.items()


async def _ask(world: World, operation: Operation, described: dict[str, Any], actor: Actor) -> httpx.Response:
    variables = re.findall(r"\{(\w+)(?::path)?\}", operation.path)
    path = await world.path(operation, variables)
    query = {"tenant": world.name} if operation.collection else {}
    headers = {"x-part-sha256": "0" * 64} if operation.id == "put_part" else {}
    body = BODIES.get(operation.id)
    if described.get("requestBody") and body is None:
        raise AssertionError(f"nothing is known to send to {operation.id}: put it into BODIES")
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
    return await world.clients[actor.name].request(
        operation.method, path.lstrip("/"), params=query, headers=headers, **sent
    )


def _operation(method: str, path: str, described: dict[str, Any]) -> tuple[Operation, dict[str, Any]]:
    base = path.removeprefix(f"{_BASE}/api/v1")
    permission = Permission(PERMISSIONS[f"{method.upper()} {path.removeprefix(_BASE)}"])
    parameters = {one["name"] for one in described.get("parameters", []) if one["in"] == "query"}
    name = described["operationId"]
    operation = Operation(
        id=name,
        method=method.upper(),
        path=base,
        permission=permission,
        of_tenant="{" in base,
        named=base.startswith("/tenants/{tenant}"),
        owned=name not in COPIES,
        collection="tenant" in parameters,
        personal=name in PERSONAL,
    )
    return operation, described


def _wanted(operation: Operation, actor: Actor) -> str:
    return f"{operation.permission.value} must be {expected(operation, actor)}"


def _as_it_must_be(operation: Operation, actor: Actor, answer: httpx.Response) -> bool:
    wanted = expected(operation, actor)
    status = answer.status_code
    if wanted is not Answer.ALLOWED:
        return str(status) == wanted.value
    if status == 404:
        # What is not there, or what the token of one tenant does not see of the others.
        return operation.id in ABSENT or (operation.id in OPEN and actor.name == "run token")
    if status == 403:
        return operation.id == "create_mapping" and actor.platform != "administrator"
    return status < 400 or status in FINE
