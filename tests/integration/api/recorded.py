"""Changes of tenants, roles, shares and accounts, one after the other, for the test that each is on record."""

import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any

from tests.integration.api.caller import Caller, signed_in


class Around:
    """A person, an administrator, and what they have made so far."""

    def __init__(self, alice: Caller, admin: Caller, bob: Caller) -> None:
        self.alice, self.admin, self.bob = alice, admin, bob
        self.person = f"subject-of-{alice.name}"
        self.group = f"group-of-{alice.name}"
        self.secrets = [str(caller.client.headers["Authorization"]).split()[1] for caller in (alice, admin, bob)]
        self.made: dict[str, Any] = {}

    @property
    def place(self) -> str:
        return f"/tenants/{self.group}"


Step = Callable[[Around], Awaitable[Any]]


def public_key() -> str:
    """Return a line of a public key that nobody has."""
    parts = (b"ssh-ed25519", os.urandom(32))
    encoded = base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()
    return f"ssh-ed25519 {encoded} of-a-test"


async def _archived(around: Around) -> Any:
    await around.admin.post(f"{around.place}/archive", status=200)


async def _asked(around: Around, answer: str, body: Any = None) -> Any:
    await around.bob.post(f"{around.place}/request", {}, 204)
    path = f"{around.place}/requests/{around.bob.name}/{answer}"
    await around.alice.post(path, body, 200 if answer == "accept" else 204)


async def _withdrawn(around: Around) -> Any:
    await around.bob.post(f"{around.place}/request", {}, 204)
    await around.bob.delete(f"{around.place}/request")


async def _mapping(around: Around) -> Any:
    body = {"kind": "group-direct", "value": around.group, "tenant": around.group, "role": "user"}
    around.made["mapping"] = (await around.admin.post("/mappings", body))["id"]


async def _synced(around: Around) -> Any:
    plan = await around.admin.post("/mappings/preview", None, 200)
    await around.admin.post("/mappings/apply", {"digest": plan["digest"]}, 200)


def _share(kind: str, what: str) -> dict[str, Step]:
    async def shared(around: Around) -> Any:
        path = f"/{kind}/{around.made[what]}/shares"
        around.made[f"{what} share"] = (await around.alice.post(path, {"person": around.bob.name}))["id"]

    async def taken_back(around: Around) -> Any:
        await around.alice.delete(f"/{kind}/{around.made[what]}/shares/{around.made[f'{what} share']}")

    return {f"create_{what}_share": shared, f"delete_{what}_share": taken_back}


async def _key(around: Around) -> Any:
    around.made["key"] = (await around.alice.post("/ssh-keys", {"key": public_key()}))["id"]


async def _credential(around: Around) -> Any:
    around.secrets.append("a-marked-secret-of-a-server")
    body = {"server": "git.example.org", "username": "a", "secret": around.secrets[-1]}
    around.made["credential"] = (await around.alice.put("/credentials/git", body))["id"]


async def _target(around: Around) -> Any:
    around.secrets.append("a-marked-hook")
    body = {"kind": "webhook", "name": "hook", "address": f"https://hooks.example.org/{around.secrets[-1]}"}
    around.made["target"] = (await around.alice.post("/notifications", body))["target"]["id"]


# Made, changed and taken away while the data, the dataset and the runs of the other steps are there.
SHARES: dict[str, Step] = {
    **_share("data", "data"),
    **_share("datasets", "dataset"),
    **_share("trainings", "training"),
    **_share("notebooks", "notebook"),
}
GROUPS: dict[str, Step] = {
    "create_tenant": lambda a: a.alice.post("/tenants", {"name": a.group}),
    "change_tenant": lambda a: a.alice.patch(a.place, {"display_name": "Lab"}),
    "accept_request": lambda a: _asked(a, "accept", {"role": "user"}),
    "set_member": lambda a: a.alice.put(f"{a.place}/members/{a.bob.name}", {"role": "viewer"}),
    "leave_tenant": lambda a: a.bob.post(f"{a.place}/leave", None, 204),
    "decline_request": lambda a: _asked(a, "decline"),
    "withdraw_request": _withdrawn,
    "ask_to_join": lambda a: a.bob.post(f"{a.place}/request", {}, 204),
    "define_server": lambda a: a.admin.put(
        f"/servers/git/{a.group}", {"kind": "gitlab", "url": "https://git.example.org"}
    ),
    "set_tenant_servers": lambda a: a.alice.put(f"{a.place}/servers", {"git": ["github"]}),
    "remove_server": lambda a: a.admin.delete(f"/servers/git/{a.group}"),
    "set_placement": lambda a: a.admin.put(f"{a.place}/placement", {"expand": {"index": 1}}),
    "set_roles": lambda a: _matrix(a),
    "set_platform_role": lambda a: a.admin.put(f"/roles/people/{a.bob.name}", {"role": "auditor"}),
    "create_mapping": _mapping,
    "apply_sync": _synced,
    "delete_mapping": lambda a: a.admin.delete(f"/mappings/{a.made['mapping']}"),
    "remove_member": lambda a: _removed(a),
    "archive_tenant": _archived,
    "unarchive_tenant": lambda a: a.admin.post(f"{a.place}/unarchive", None, 200),
    "erase_tenant": lambda a: _erased(a),
}
ACCOUNTS: dict[str, Step] = {
    "add_ssh_key": _key,
    "remove_ssh_key": lambda a: a.alice.delete(f"/ssh-keys/{a.made['key']}"),
    "set_credential": _credential,
    "get_git_credential": lambda a: a.alice.post(
        "/git-credential", {"protocol": "https", "host": "git.example.org"}, 200
    ),
    "remove_credential": lambda a: a.alice.delete(f"/credentials/{a.made['credential']}"),
    "add_notification": _target,
    "change_notification": lambda a: a.alice.patch(f"/notifications/{a.made['target']}", {"name": "other"}),
    "remove_notification": lambda a: a.alice.delete(f"/notifications/{a.made['target']}"),
}


async def _matrix(around: Around) -> Any:
    client = around.admin.client
    headers = {"If-Match": (await client.get("/roles")).headers["ETag"]}
    answer = await client.put("/roles", json={"roles": []}, headers=headers)
    assert answer.status_code == 200, answer.text


async def _removed(around: Around) -> Any:
    await around.alice.put(f"{around.place}/members/{around.bob.name}", {"role": "user"})
    await around.alice.delete(f"{around.place}/members/{around.bob.name}")


async def _erased(around: Around) -> Any:
    await _archived(around)
    await around.admin.post(f"{around.place}/erase", {"name": around.group}, 202)


async def around_of(service: Any, alice: Caller) -> Around:
    admin = await signed_in(service, "admin-of-records", "sandbox", administrator=True)
    return Around(alice, admin, await signed_in(service, f"bob-of-{alice.name}", f"bobs-{alice.tenant}"))
