"""Tenants: made, joined, archived, erased; and what a person sees and may do in them."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from kqi_hub.db.sharing import ShareRow
from kqi_hub.identity.rows import PersonRow
from kqi_hub.testing.service import Running
from tests.contract.looks import ROOT_ONLY
from tests.integration.api.caller import Caller, signed_in
from tests.integration.api.mounts import busy

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
_numbers = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def boss(service: Running) -> AsyncIterator[Caller]:
    """Somebody who has made a tenant of their own, and so manages it."""
    number = next(_numbers)
    async with await signed_in(service, f"boss{number}", "sandbox") as caller:
        caller.tenant = f"lab-{number}"
        await caller.post("/tenants", {"name": caller.tenant, "display_name": "研究室"})
        caller.client.params = httpx.QueryParams({"tenant": caller.tenant})
        yield caller


@pytest_asyncio.fixture(loop_scope="session")
async def bob(service: Running) -> AsyncIterator[Caller]:
    """Somebody who is in the default tenant only."""
    async with await signed_in(service, f"bob{next(_numbers)}", "sandbox") as caller:
        yield caller


@pytest_asyncio.fixture(loop_scope="session")
async def root(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "root", "sandbox", administrator=True) as caller:
        yield caller


async def test_who_makes_a_tenant_manages_it(boss: Caller) -> None:
    found = await boss.get(f"/tenants/{boss.tenant}")
    assert (found["managers"], found["roles"], found["display_name"]) == ([boss.name], ["manager"], "研究室")
    await boss.patch(f"/tenants/{boss.tenant}", {"display_name": "Lab", "open": False})
    mine = (await boss.get("/tenants", params={"mine": True}))["items"]
    assert [item["display_name"] for item in mine if item["name"] == boss.tenant] == ["Lab"]


@pytest.mark.parametrize("name", ["Lab", "1lab", "lab-", "-lab", "kqi-lab", "kube-x", "l_ab", "a" * 64, "名", ""])
async def test_a_name_that_no_tenant_can_have_is_refused(bob: Caller, name: str) -> None:
    answer = await bob.post("/tenants", {"name": name}, status=422)
    assert answer["code"] in {"tenant_name_not_valid", "tenant_name_reserved", "invalid_request"}


async def test_a_name_is_given_once(boss: Caller, bob: Caller) -> None:
    assert (await bob.post("/tenants", {"name": boss.tenant}, status=409))["code"] == "tenant_exists"


async def test_somebody_asks_to_join_and_is_let_in_with_a_role(boss: Caller, bob: Caller) -> None:
    offered = {item["name"]: item for item in (await bob.get("/tenants", params={"limit": 1000}))["items"]}
    assert offered[boss.tenant]["managers"] == [boss.name] and offered[boss.tenant]["permissions"] == []
    await bob.post(f"/tenants/{boss.tenant}/request", {"message": "よろしく"}, status=204)
    assert (await bob.get(f"/tenants/{boss.tenant}"))["asked"]
    asked = (await boss.get(f"/tenants/{boss.tenant}/requests"))["items"]
    assert [(one["person"], one["message"]) for one in asked] == [(bob.name, "よろしく")]
    await bob.get(f"/tenants/{boss.tenant}/requests", status=403)
    made = await boss.post(f"/tenants/{boss.tenant}/requests/{bob.name}/accept", {"role": "dev"}, status=200)
    assert made["role"] == "researcher"
    assert (await boss.get(f"/tenants/{boss.tenant}/requests"))["items"] == []
    await bob.post("/data", {"name": "mine"}, params={"tenant": boss.tenant})


async def test_a_declined_request_is_gone_and_may_be_made_again(boss: Caller, bob: Caller) -> None:
    await bob.post(f"/tenants/{boss.tenant}/request", {}, status=204)
    await boss.post(f"/tenants/{boss.tenant}/requests/{bob.name}/decline", status=204)
    await boss.post(f"/tenants/{boss.tenant}/requests/{bob.name}/decline", status=404)
    assert not (await bob.get(f"/tenants/{boss.tenant}"))["asked"]
    await bob.post(f"/tenants/{boss.tenant}/request", {}, status=204)
    await bob.delete(f"/tenants/{boss.tenant}/request")


async def test_a_tenant_keeps_a_manager(boss: Caller, bob: Caller) -> None:
    members = f"/tenants/{boss.tenant}/members"
    assert (await boss.put(f"{members}/{boss.name}", {"role": "viewer"}, status=409))["code"] == "last_manager"
    assert (await boss.delete(f"{members}/{boss.name}", status=409))["code"] == "last_manager"
    assert (await boss.post(f"/tenants/{boss.tenant}/leave", status=409))["code"] == "last_manager"
    await boss.put(f"{members}/{bob.name}", {"role": "creator"})
    await boss.post(f"/tenants/{boss.tenant}/leave", status=204)
    assert [one["person"] for one in (await bob.get(members))["items"]] == [bob.name]


async def test_nobody_leaves_the_default_tenant(bob: Caller) -> None:
    assert (await bob.post("/tenants/sandbox/leave", status=409))["code"] == "tenant_default"


async def test_an_archived_tenant_is_read_only_until_it_is_brought_back(boss: Caller) -> None:
    data = await boss.data({"f": b"x"})
    await boss.post(f"/tenants/{boss.tenant}/archive", status=200)
    assert (await boss.get(f"/data/{data['id']}"))["name"] == "some data"
    assert (await boss.patch(f"/data/{data['id']}", {"name": "b"}, status=409))["code"] == "tenant_archived"
    assert (await boss.post("/data", {"name": "b"}, status=409))["code"] == "tenant_archived"
    refused = await boss.post("/trainings", {"command": "true"}, status=409)
    assert refused["code"] == "tenant_archived"
    await boss.post(f"/tenants/{boss.tenant}/unarchive", status=200)
    await boss.patch(f"/data/{data['id']}", {"name": "b"})


async def test_a_tenant_at_work_is_not_archived(boss: Caller) -> None:
    run = await boss.train("sleep 600")
    assert (await boss.post(f"/tenants/{boss.tenant}/archive", status=409))["code"] == "tenant_busy"
    await boss.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, status=200)
    await boss.ended(run["id"])
    await boss.post(f"/tenants/{boss.tenant}/archive", status=200)


async def test_an_erased_tenant_leaves_a_report_and_nothing_else(
    service: Running, boss: Caller, bob: Caller, root: Caller
) -> None:
    await boss.put(f"/tenants/{boss.tenant}/members/{bob.name}", {"role": "user"})
    data = await boss.data({"a/f": b"12345", "g": b"123"})
    dataset = await boss.dataset({"flat": [data["id"]]})
    run = await boss.ended((await boss.train("echo result > $KQI_ROOT/output/f"))["id"])
    await boss.post("/uploads", {"sha256": "0" * 64, "size": 10, "part_size": 2**20}, status=200)
    path = f"/tenants/{boss.tenant}/erase"
    await boss.post(path, {"name": boss.tenant}, status=403)
    assert (await root.post(path, {"name": boss.tenant}, status=409))["code"] == "erase_not_archived"
    await boss.post(f"/tenants/{boss.tenant}/archive", status=200)
    assert (await root.post(path, {"name": "lab"}, status=422))["code"] == "erase_name_differs"
    begun = await root.post(path, {"name": boss.tenant}, status=202)
    report = await _finished(root, begun["id"])
    counts = report["counts"]
    assert counts["run_bytes"] >= len("result\n")
    expected = {"runs": 1, "datasets": 1, "data": 1, "data_files": 2, "data_bytes": 8, "uploads": 1, "members": 2}
    assert {kind: counts[kind] for kind in expected} == expected
    store = service.settings.store
    assert not (store / "runs" / "training" / str(run["id"])).exists()
    assert not (store / "datasets" / str(dataset["id"])).exists()
    await root.get(f"/tenants/{boss.tenant}", status=404)
    me = await boss.get("/me", params={})
    assert me["default_tenant"] == "sandbox" and [tenant["name"] for tenant in me["tenants"]] == ["sandbox"]


async def test_the_default_tenant_is_neither_archived_nor_erased(root: Caller) -> None:
    assert (await root.post("/tenants/sandbox/archive", status=409))["code"] == "tenant_default"
    assert (await root.post("/tenants/sandbox/erase", {"name": "sandbox"}, status=409))["code"] == "tenant_default"


async def test_who_lacks_the_wider_right_changes_only_what_is_theirs_or_shared(boss: Caller, bob: Caller) -> None:
    await boss.put(f"/tenants/{boss.tenant}/members/{bob.name}", {"role": "user"})
    theirs = await boss.data({"f": b"x"})
    mine = await bob.post("/data", {"name": "mine"}, params={"tenant": boss.tenant})
    await bob.patch(f"/data/{mine['id']}", {"name": "still mine"})
    assert (await bob.patch(f"/data/{theirs['id']}", {"name": "b"}, status=403))["code"] == "not_owner"
    assert (await bob.delete(f"/data/{theirs['id']}", status=403))["code"] == "not_owner"
    share = {"person": bob.name, "access": "write"}
    assert (await bob.post(f"/data/{theirs['id']}/shares", share, status=403))["code"] == "not_owner"
    made = await boss.post(f"/data/{theirs['id']}/shares", share)
    await bob.patch(f"/data/{theirs['id']}", {"name": "b"})
    await boss.delete(f"/data/{theirs['id']}/shares/{made['id']}")
    await bob.patch(f"/data/{theirs['id']}", {"name": "c"}, status=403)


async def test_a_shared_dataset_is_read_and_used_by_another_tenant(boss: Caller, stranger: Caller) -> None:
    data = await boss.data({"f": b"shared"})
    dataset = await boss.dataset({"flat": [data["id"]]})
    for path in (f"/datasets/{dataset['id']}", f"/data/{data['id']}/files", f"/data/{data['id']}/content/f"):
        await stranger.get(path, status=404)
    await boss.post(f"/datasets/{dataset['id']}/shares", {"tenant": stranger.tenant})
    assert (await stranger.get(f"/datasets/{dataset['id']}"))["tenant"] == boss.tenant
    assert (await stranger.get(f"/data/{data['id']}/content/f")).text == "shared"
    assert (await stranger.get("/datasets"))["items"] == []
    listed = (await stranger.get("/datasets", params={"shared": True}))["items"]
    assert [one["id"] for one in listed] == [dataset["id"]]
    await stranger.patch(f"/datasets/{dataset['id']}", {"name": "b"}, status=403)
    run = await stranger.train("cat $KQI_ROOT/input/*/f", dataset={"id": dataset["id"]})
    assert (await stranger.ended(run["id"]))["phase"] == "completed"
    assert "shared" in await stranger.log(run["id"])


async def test_who_may_change_a_shared_dataset_cannot_put_unseen_data_into_it(boss: Caller, stranger: Caller) -> None:
    seen, unseen = await boss.data({"f": b"1"}), await boss.data({"f": b"2"})
    dataset = await boss.dataset({"flat": [seen["id"]]})
    await boss.post(f"/datasets/{dataset['id']}/shares", {"person": stranger.name, "access": "write"})
    path = f"/datasets/{dataset['id']}/versions"
    assert (await stranger.post(path, {"flat": [seen["id"], unseen["id"]]}, status=422))["code"] == "data_missing"
    assert (await stranger.post(path, {"flat": []}))["version"]["number"] == 2


async def test_a_shared_run_shows_its_log_and_cannot_be_stopped(boss: Caller, stranger: Caller) -> None:
    run = await boss.ended((await boss.train("echo done"))["id"])
    await boss.post(f"/trainings/{run['id']}/shares", {"person": stranger.name})
    assert "done" in await stranger.log(run["id"])
    await stranger.patch(f"/trainings/{run['id']}", {"memo": "x"}, status=403)
    assert (await stranger.post(f"/trainings/{run['id']}/copy", {}))["tenant"] == stranger.tenant


async def test_what_is_deleted_leaves_no_share_behind(boss: Caller, stranger: Caller, service: Running) -> None:
    data, run = await boss.data({"f": b"x"}), await boss.ended((await boss.train("true"))["id"])
    dataset = await boss.dataset({"flat": [data["id"]]})
    things = [f"/trainings/{run['id']}", f"/datasets/{dataset['id']}", f"/data/{data['id']}"]
    for thing in things:
        await boss.post(f"{thing}/shares", {"person": stranger.name})
    mine = select(func.count()).select_from(ShareRow).join(PersonRow, PersonRow.id == ShareRow.person_id)
    mine = mine.where(PersonRow.name == stranger.name)
    for left, thing in ((2, things[0]), (1, things[1]), (0, things[2])):
        await boss.delete(thing)
        async with service.database.read() as session:
            assert await session.scalar(mine) == left


async def test_limits_of_a_tenant_hold_up_what_is_beyond_them(boss: Caller, root: Caller) -> None:
    limits = "all,cpu,concurrent,1;all,cpu,single,0.8"
    answer = await root.put(f"/tenants/{boss.tenant}/placement", {"expand": {"quota": limits, "index": 3}})
    assert [(one["key"], one["enforced"]) for one in answer["effects"]] == [
        *[("quota", True), ("quota", True)],
        ("index", False),
    ]
    much = {"command": "true", "resources": {"cpu": 0.9, "memory_gb": 0.25}}
    assert (await boss.post("/trainings", much, status=422))["code"] == "more_than_tenant_limit"
    asked = {"cpu": 0.6, "memory_gb": 0.25}
    first = await boss.post("/trainings", {"command": "sleep 600", "resources": asked})
    second = await boss.post("/trainings", {"command": "true", "resources": asked})
    assert second["phase"] == "queued" and second["queue"]["reason"] == "waiting_for_tenant_limit"
    await boss.post(f"/trainings/{first['id']}/stop", {"mode": "kill"}, status=200)
    assert (await boss.ended(second["id"]))["phase"] == "completed"


async def test_a_limit_that_is_raised_lets_in_who_waits_for_it(boss: Caller, root: Caller) -> None:
    place = f"/tenants/{boss.tenant}/placement"
    await root.put(place, {"expand": {"quota": "all,cpu,concurrent,1"}})
    asked = {"cpu": 0.6, "memory_gb": 0.25}
    runs = [await boss.post("/trainings", {"command": "sleep 600", "resources": asked}) for _ in range(2)]
    assert [run["phase"] == "queued" for run in runs] == [False, True]
    await root.put(place, {"expand": {"quota": "all,cpu,concurrent,2"}})
    assert (await boss.until(runs[1]["id"], "running"))["phase"] == "running"
    for run in runs:
        await boss.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, status=200)
        await boss.ended(run["id"])


@pytest.mark.parametrize(
    ("expand", "code"),
    [
        ({"cluster": "mars"}, "expand_cluster_unknown"),
        ({"volume_mount": "nowhere(pvc-share):/data/x"}, "expand_mount_not_here"),
        ({"quota": "all,cpu,total,3"}, "expand_quota_not_here"),
        ({"node_selector": "org"}, "expand_selector_syntax"),
        ({"cluster": 3}, "expand_not_a_text"),
    ],
)
async def test_settings_that_could_not_be_honoured_are_refused(
    boss: Caller, root: Caller, expand: dict[str, Any], code: str
) -> None:
    assert (await root.put(f"/tenants/{boss.tenant}/placement", {"expand": expand}, status=422))["code"] == code
    await boss.put(f"/tenants/{boss.tenant}/placement", {"expand": {}}, status=403)


async def test_servers_are_defined_by_an_administrator_and_chosen_by_a_manager(boss: Caller, root: Caller) -> None:
    place = f"/servers/git/{boss.tenant}"
    await boss.put(place, {"kind": "gitlab", "url": "https://git.example.org"}, status=403)
    strange = ("https://[x", "https://ex\u2100mple.org", "https://git.example.org:99999")
    for url in ("ftp://a", "https://me:secret@git.example.org", "git", *strange):
        assert (await root.put(place, {"kind": "gitlab", "url": url}, status=422))["code"] == "server_url"
    await root.put(place, {"kind": "gitlab", "url": "https://git.example.org/"})
    other = f"{boss.tenant}-other"
    await root.put(f"/servers/git/{other}", {"kind": "github", "url": "https://github.com"})
    everything = await boss.get(f"/tenants/{boss.tenant}/servers")
    assert {other, boss.tenant} <= {one["name"] for one in everything["git"]}
    chosen = await boss.put(f"/tenants/{boss.tenant}/servers", {"git": [boss.tenant, other]})
    assert (chosen["git_default"], len(chosen["git"])) == (boss.tenant, 2)
    assert (await root.delete(place, status=409))["code"] == "server_in_use"


async def _finished(root: Caller, erasure: int) -> Any:
    while True:
        report = await root.get(f"/erasures/{erasure}")
        if report["finished_at"]:
            return report


@ROOT_ONLY
async def test_an_erasure_that_fails_keeps_none_of_the_later_waiting(
    service: Running, boss: Caller, alice: Caller, root: Caller
) -> None:
    run = await boss.ended((await boss.train("mkdir $KQI_ROOT/output/busy"))["id"])
    later = f"later-than-{boss.tenant}"
    await alice.post("/tenants", {"name": later})
    erasures = {}
    with busy(service.settings.store / "runs" / "training" / str(run["id"]) / "output" / "busy"):
        for name in (boss.tenant, later):
            await root.post(f"/tenants/{name}/archive", status=200)
            erasures[name] = (await root.post(f"/tenants/{name}/erase", {"name": name}, status=202))["id"]
        await _finished(root, erasures[later])
        assert (await root.get(f"/erasures/{erasures[boss.tenant]}"))["finished_at"] is None
    await _finished(root, erasures[boss.tenant])
