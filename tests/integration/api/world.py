"""A tenant with everything in it, a way to name each thing in a path, and what to send where a body is needed."""

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import select

from kqi_hub.clock import now
from kqi_hub.identity import people, tokens
from kqi_hub.identity.rows import MembershipRow, PersonRow, TokenRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, packed, signed_in
from tests.integration.api.oracle import Actor, Operation
from tests.integration.api.recorded import public_key

_numbers = itertools.count(1)
# What to send; where nothing is here, nothing is sent. A tar is sent as it is.
BODIES: Mapping[str, Any] = {
    "change_me": {},
    "create_token": {"name": "t"},
    "start_device": {"client": "c"},
    "redeem_device": {"device_code": "c"},
    "create_tenant": {"name": "made-by-oracle"},
    "change_tenant": {},
    "set_member": {"role": "viewer"},
    "ask_to_join": {},
    "accept_request": {"role": "viewer"},
    "erase_tenant": {"name": "not this one"},
    "define_server": {"kind": "any", "url": "https://git.example.org"},
    "set_tenant_servers": {},
    "set_placement": {},
    "set_roles": {"roles": []},
    "set_platform_role": {"role": None},
    "create_mapping": {"kind": "group-direct", "value": "g", "role": "auditor"},
    "apply_sync": {"digest": "0" * 64},
    "add_ssh_key": {"key": "no key"},
    "import_ssh_keys": {"server": "nowhere", "account": "a"},
    "set_credential": {"server": "git.example.org", "secret": "s"},
    "get_git_credential": {"protocol": "https", "host": "nobody.example.org"},
    "add_notification": {"kind": "webhook", "name": "n", "address": "https://hooks.example.org/x"},
    "change_notification": {},
    "accept_terms": {"version": 2**40},
    # In force it would keep everybody out: refused, but only to who may.
    "publish_terms": {"ja": "x", "zh": "x", "en": ""},
    "create_person": {"name": "made-by-oracle"},
    "change_person": {},
    "renew_password": {},
    "suspend_person": {},
    "hand_over": {"to": "oracle-recipient"},
    "delete_person": {},
    "approve_application": {"user": "applied-by-oracle"},
    "decline_application": {"reason": "r"},
    "find_blobs": {"sha256": []},
    "start_upload": {"sha256": "1" * 64, "size": 5, "part_size": 2**20},
    "create_data": {"name": "d"},
    "change_data": {},
    "add_files": {"files": [{"path": "h", "sha256": "2" * 64}]},
    "remove_files": {"paths": ["g"]},
    "create_dataset": {"name": "d", "entries": {"flat": []}},
    "change_dataset": {},
    "replace_entries": {"flat": []},
    "add_version": {"flat": []},
    "copy_dataset": {"name": "c"},
    "set_data_types": {"names": ["training"]},
    "create_training": {"command": "true", "resources": {"cpu": 0.1, "memory_gb": 0.25}},
    "copy_training": {},
    "change_training": {},
    "stop_training": {"mode": "kill"},
    "create_notebook": {"resources": {"cpu": 0.1, "memory_gb": 0.25}},
    "change_notebook": {},
    "stop_notebook": {"mode": "kill"},
    **{f"create_{kind}_share": {"person": "oracle-recipient"} for kind in ("data", "dataset", "training", "notebook")},
    "upload_batch": packed({"f": b"x"}),
    "put_part": b"x" * 5,
    "put_training_attachment": b"x",
    "put_notebook_attachment": b"x",
}
# The right answer to who may, where the thing is not as it would have to be: a code that says so.
FINE = frozenset({400, 409, 412, 416, 422, 428, 503})
# After these the caller is no longer who they were.
MOVING = frozenset({"leave_tenant", "create_tenant", "revoke_current_token"})
Maker = Callable[[], Awaitable[str]]


class World:
    """Things of tenant `name`, which the owner has made; one that was deleted is made anew."""

    def __init__(self, service: Running, owner: Caller, base: str) -> None:
        self.service, self.owner, self.base, self.name = service, owner, base, owner.tenant
        self.clients: dict[str, httpx.AsyncClient] = {}
        self._made: dict[str, str] = {}

    async def meet(self, actor: Actor) -> None:
        """Let an actor be there, with a token as they have it."""
        name = f"oracle-{next(_numbers)}"
        headers = {} if actor.name == "anonymous" else {"Authorization": f"Bearer {await self._token(actor, name)}"}
        self.clients[actor.name] = httpx.AsyncClient(base_url=self.base, headers=headers, timeout=60)

    async def path(self, operation: Operation, variables: list[str]) -> str:
        """Return the operation's address, with things in it that are there and that the owner has made."""
        path = operation.path
        for variable in variables:
            place = f"{path.split('/')[1]} {variable}"
            if place not in self._made:
                self._made[place] = await self.thing(operation, variable)
            path = re.sub(rf"\{{{variable}(:path)?\}}", self._made[place], path)
        return path

    async def restore(self, operation: Operation, actor: Actor) -> None:
        """Put back what an operation that was allowed has changed for those who come after."""
        if operation.id in MOVING:
            await self.clients[actor.name].aclose()
            await self.meet(actor)
        if operation.id == "archive_tenant":
            await self.owner.post(f"/tenants/{self.name}/unarchive", status=200)
        if operation.method == "DELETE" or operation.id == "delete_person":
            self._forget(operation)

    def _forget(self, operation: Operation) -> None:
        """Have new things made for the next who asks: what was there has been taken away."""
        first = operation.path.split("/")[1]
        for place in [place for place in self._made if place.split()[0] == first]:
            del self._made[place]

    async def thing(self, operation: Operation, variable: str) -> str:
        makers: Mapping[str, Maker] = {
            "tenant": self._tenant,
            "person": self._member,
            "data_id": self._data,
            "dataset_id": self._dataset,
            "upload": self._upload,
            "token_id": self._its_token,
            "mapping_id": self._nothing,
            "version": self._nothing,
            "target_id": self._nothing,
            "key_id": self._key,
            "credential_id": self._credential,
            "erasure_id": self._nothing,
            "share_id": lambda: self._share(operation),
            "number": lambda: self._numbered(operation),
        }
        plain = {"path": "f", "use": "git", "name": "f", "part": "0", "kind": "git", "session_id": "token-1"}
        if operation.path.startswith("/admin"):
            return await self._member() if variable == "name" else plain.get(variable) or await self._nothing()
        if variable == "number" and "/parts/" in operation.path:
            return "0"
        return plain[variable] if variable in plain else await makers[variable]()

    async def _tenant(self) -> str:
        return self.name

    async def _nothing(self) -> str:
        return str(2**40)

    async def _member(self) -> str:
        name = f"oracle-member-{next(_numbers)}"
        await self.service.token(name, self.name)
        return name

    async def _data(self) -> str:
        return str((await self.owner.data({"f": b"x", "g": b"y"}))["id"])

    async def _dataset(self) -> str:
        return str((await self.owner.dataset({"flat": []}))["id"])

    async def _upload(self) -> str:
        made = {"sha256": f"{next(_numbers):064d}", "size": 5, "part_size": 2**20}
        return str((await self.owner.post("/uploads", made, status=200))["id"])

    async def _its_token(self) -> str:
        return str((await self.owner.post("/tokens", {"name": "t"}))["info"]["id"])

    async def _key(self) -> str:
        return str((await self.owner.post("/ssh-keys", {"key": public_key()}))["id"])

    async def _credential(self) -> str:
        body = {"server": f"git{next(_numbers)}.example.org", "secret": "s"}
        return str((await self.owner.put("/credentials/git", body))["id"])

    async def _share(self, operation: Operation) -> str:
        return str(2**40)

    async def _numbered(self, operation: Operation) -> str:
        if operation.path.startswith("/datasets"):
            return await self._dataset()
        if operation.path.startswith("/data"):
            return await self._data()
        small = {"resources": {"cpu": 0.1, "memory_gb": 0.25}}
        if operation.path.startswith("/notebooks"):
            made = await self.owner.post("/notebooks", small)
            await self.owner.post(f"/notebooks/{made['id']}/stop", {"mode": "kill"}, status=200)
            return str(made["id"])
        made = await self.owner.post("/trainings", {"command": "true", **small})
        return str(made["id"])

    async def _token(self, actor: Actor, name: str) -> str:
        lasts = timedelta(days=-1 if actor.name == "expired token" else 1)
        await self.service.token(name, self.name if actor.role else f"{self.name}-elsewhere")
        async with self.service.database.write() as session:
            person = (await session.scalars(select(PersonRow).where(PersonRow.name == name))).one()
            membership = (
                await session.scalars(select(MembershipRow).where(MembershipRow.person_id == person.id))
            ).one()
            membership.role = actor.role or actor.elsewhere
            person.platform_role, person.disabled = actor.platform, actor.name == "suspended"
            secret, row = await tokens.create(session, person.id, "oracle", lasts=lasts)
            if actor.name == "narrowed token":
                row.capabilities = '["data.read"]'
            if actor.name == "run token":
                row.run_key, row.tenant_id = 2**40, membership.tenant_id
        return secret.reveal()


async def world_of(service: Running) -> World:
    number = next(_numbers)
    owner = await signed_in(service, f"oracle-owner-{number}", f"oracle-{number}")
    await service.token("oracle-recipient")
    async with service.database.write() as session:
        person = await people.person_named(session, owner.name)
        assert person
        row = (await session.scalars(select(MembershipRow).where(MembershipRow.person_id == person.id))).one()
        row.role = "manager"
        # It stays younger than any other, so that the tests' own token is never the stale one.
        await session.execute(TokenRow.__table__.update().values(last_used_at=now()))
    return World(service, owner, str(owner.client.base_url))
