"""What groups and units of a real slapd give, asked for and applied by the routes of a service that stands on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kqi_hub.directory.arrival import Arrived, arrive
from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from tests import database, slapd
from tests.integration.api.caller import signed_in
from tests.integration.directory.conftest import Open
from tests.slapd import Slapd, dn_of

LAB = f"ou=lab,{slapd.PEOPLE}"
ESCAPED = f"cn=cards\\2C all,{slapd.GROUPS}"
_PEOPLE = ("alice", "bob", "carol", "dora")


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    made = Slapd()
    made.load(
        [
            *slapd.tree(),
            (LAB, {"objectClass": "organizationalUnit"}),
            *(slapd.person(name, 10001 + number) for number, name in enumerate(_PEOPLE[:3])),
            (f"uid=dora,{LAB}", slapd.person("dora", 10009)[1]),
            slapd.group("students", dn_of("alice")),
            slapd.group("staff", f"cn=students,{slapd.GROUPS}"),
            (ESCAPED, {"objectClass": "groupOfNames", "member": [dn_of("bob")]}),
            slapd.group("admins", dn_of("carol")),
        ]
    )
    with made:
        yield made


async def test_groups_direct_and_nested_units_and_escaped_names_give_what_was_said(
    server: Slapd, open_directory: Open, tmp_path: Path
) -> None:
    directory = open_directory(server)
    settings = load(environ={}, state=tmp_path, server={"port": free_port()}, database=database.fresh())
    async with running(settings, MemoryBackend(), directory) as service:
        for name in _PEOPLE:
            await _arrives(service, directory, name)
        async with await signed_in(service, "root", "sandbox", administrator=True) as root:
            tenants = ("direct", "nested", "escaped", "unit", "below", "nobody")
            for tenant in tenants:
                await root.post("/tenants", {"name": tenant})
            wanted = [
                ("group-direct", "Students", "direct", "users"),
                ("group-direct", f"CN=Staff, {slapd.GROUPS}", "nobody", "users"),
                ("group-nested", f"CN=Staff, {slapd.GROUPS}", "nested", "manager"),
                ("group-direct", f"CN=Cards\\, All, {slapd.GROUPS}", "escaped", "viewer"),
                ("ou-direct", f"OU=Lab, {slapd.PEOPLE}", "unit", "viewer"),
                ("ou-direct", slapd.PEOPLE, "below", "viewer"),
                ("ou-indirect", slapd.PEOPLE, "below", "users"),
                ("group-direct", f"cn=admins\\\\,{slapd.GROUPS}", "nobody", "manager"),
            ]
            for kind, value, tenant, role in wanted:
                await root.post("/mappings", {"kind": kind, "value": value, "tenant": tenant, "role": role})
            refused = {"kind": "ou-direct", "value": f"lab,{slapd.PEOPLE}", "tenant": "unit", "role": "viewer"}
            assert (await root.post("/mappings", refused, 422))["code"] == "mapping_not_a_dn"
            shown = await root.post("/mappings/preview", status=200)
            assert shown["people"] == 4 and shown["gone"] == []
            given = {(one["person"], one["tenant"], one["after"]) for one in shown["changes"]}
            assert given == {
                *((name, "below", "user") for name in _PEOPLE),
                ("alice", "direct", "user"),
                ("alice", "nested", "manager"),
                ("bob", "escaped", "viewer"),
                ("dora", "unit", "viewer"),
            }
            await root.post("/mappings/apply", {"digest": shown["digest"]}, status=200)
            members = {name: (await root.get(f"/tenants/{name}/members"))["items"] for name in tenants}
            roles = {
                name: {one["person"]: one["directory_role"] for one in found if one["directory_role"]}
                for name, found in members.items()
            }
            assert [roles[name] for name in ("direct", "nested", "escaped", "unit")] == [
                *({"alice": "user"}, {"alice": "manager"}, {"bob": "viewer"}, {"dora": "viewer"})
            ]
            assert set(roles["below"]) == set(_PEOPLE) and not roles["nobody"]
            # The name is given anew: what the one before had is not the newcomer's, and is taken.
            server.delete(dn_of("bob"))
            server.add(*slapd.person("bob", 10010))
            server.change(ESCAPED, member=[dn_of("bob")])
            shown = await root.post("/mappings/preview", status=200)
            assert shown["gone"] == ["bob"]
            assert {(one["person"], one["tenant"], one["after"]) for one in shown["changes"]} == {
                *(("bob", "below", None), ("bob", "escaped", None))
            }
            await root.post("/mappings/apply", {"digest": shown["digest"]}, status=200)
            left = (await root.get("/tenants/escaped/members"))["items"]
            assert "bob" not in [one["person"] for one in left]


async def _arrives(service: Running, directory: LdapDirectory, name: str) -> None:
    entry = await directory.look_up(name)
    assert entry
    async with service.database.write() as session:
        (found,) = await arrive(session, [entry], default_tenant="sandbox")
    assert isinstance(found, Arrived)
