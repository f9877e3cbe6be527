"""Datasets: typed and flat, frozen when used, copied, versioned, laid out once."""

import json

import pytest
from sqlalchemy import delete

from kqi_hub.datasets.store import VersionRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_run_sees_a_typed_dataset_read_only_with_its_description(alice: Caller) -> None:
    one = await alice.data({"a/x.txt": b"one"}, name="first", tags=["t"])
    two = await alice.data({"y.txt": b"two"}, name="second")
    dataset = await alice.dataset({"splits": {"training": [one["id"]], "testing": [two["id"]]}})
    command = (
        f"cat $KQI_ROOT/input/training/{one['id']}/a/x.txt $KQI_ROOT/input/test/{two['id']}/y.txt && echo && "
        "echo new > $KQI_ROOT/input/scratch && cat $KQI_ROOT/input/meta.json && "
        f"cd $KQI_ROOT/input/training/{one['id']}/a && ! echo changed > x.txt && ! rm -f x.txt"
    )
    run = await alice.train(command, dataset={"id": dataset["id"]})
    assert (await alice.ended(run["id"]))["phase"] == "completed", await alice.log(run["id"])
    first, rest = (await alice.log(run["id"])).split("\n", 1)
    assert first == "onetwo"
    meta, _ = json.JSONDecoder().raw_decode(rest)
    assert [(entry["type"], entry["name"], entry["tags"]) for entry in meta["entries"]] == [
        ("training", "first", ["t"]),
        ("testing", "second", []),
    ]
    again = await alice.client.get(f"/data/{one['id']}/content/a/x.txt")
    assert again.content == b"one"


async def test_data_may_be_in_several_splits(alice: Caller) -> None:
    data = await alice.data({"f": b"x", "g": b"y"})
    dataset = await alice.dataset({"splits": {"training": [data["id"]], "testing": [data["id"]]}})
    run = await alice.train("cd $KQI_ROOT/input && cat training/*/* testing/*/*", dataset={"id": dataset["id"]})
    assert (await alice.ended(run["id"]))["phase"] == "completed"
    assert await alice.log(run["id"]) == "xyxy"
    listed = await alice.get(f"/datasets/{dataset['id']}/files")
    assert len(listed["items"]) == dataset["version"]["files"] == 4


async def test_a_flat_dataset_lies_directly_under_input(alice: Caller) -> None:
    data = await alice.data({"f": b"flat"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    run = await alice.train(f"cat $KQI_ROOT/input/{data['id']}/f", dataset={"id": dataset["id"]})
    await alice.ended(run["id"])
    assert await alice.log(run["id"]) == "flat"


async def test_a_local_dataset_is_a_writable_copy(alice: Caller) -> None:
    data = await alice.data({"f": b"original"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    command = f"echo changed > $KQI_ROOT/input/{data['id']}/f && cat $KQI_ROOT/input/{data['id']}/f"
    run = await alice.train(command, dataset={"id": dataset["id"]}, local_dataset=True)
    assert (await alice.ended(run["id"]))["phase"] == "completed", await alice.log(run["id"])
    assert await alice.log(run["id"]) == "changed\n"
    assert (await alice.client.get(f"/data/{data['id']}/content/f")).content == b"original"
    notebook = await alice.post("/notebooks", {"dataset": {"id": dataset["id"]}, "local_dataset": True})
    assert (notebook["dataset"]["id"], notebook["local_dataset"]) == (dataset["id"], True)
    await alice.post(f"/notebooks/{notebook['id']}/stop", {"mode": "kill"}, 200)


async def test_a_used_version_freezes_and_a_new_one_or_a_copy_goes_on(alice: Caller) -> None:
    data = await alice.data({"f": b"1"})
    more = await alice.data({"g": b"2"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    place = f"/datasets/{dataset['id']}"
    changed = await alice.put(f"{place}/entries", {"flat": [data["id"], more["id"]]})
    assert (changed["version"]["files"], changed["frozen"]) == (2, False)
    run = await alice.train("true", dataset={"id": dataset["id"]})
    assert (await alice.put(f"{place}/entries", {"flat": []}, 409))["code"] == "dataset_frozen"
    await alice.patch(place, {"memo": "still editable"})
    next_version = await alice.post(f"{place}/versions", {"flat": [more["id"]]})
    assert (next_version["version"]["number"], next_version["frozen"]) == (run["dataset"]["version"] + 1, False)
    copy = await alice.post(f"{place}/copy", {"name": "copy"})
    assert (copy["frozen"], copy["version"]["entries"]["flat"]) == (False, [more["id"]])
    assert (await alice.delete(place, 409))["code"] == "dataset_in_use"
    await alice.ended(run["id"])
    await alice.delete(f"/trainings/{run['id']}")
    await alice.delete(place)


async def test_files_that_come_to_data_or_go_are_seen_by_the_next_run(alice: Caller) -> None:
    data = await alice.data({"a": b"one", "b": b"two"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    await alice.get(f"/datasets/{dataset['id']}")
    await alice.post(f"/data/{data['id']}/files", {"files": await alice.upload({"c": b"three"})}, 200)
    await alice.post(f"/data/{data['id']}/files/remove", {"paths": ["a"]}, 200)
    run = await alice.train(
        f"cd $KQI_ROOT/input/{data['id']} && cat *; grep -c '\"bytes\": 8,' ../meta.json", dataset={"id": dataset["id"]}
    )
    await alice.ended(run["id"])
    assert await alice.log(run["id"]) == "twothree1\n"
    kept = await alice.get(f"/datasets/{dataset['id']}")
    assert (kept["version"]["number"], kept["version"]["files"], kept["frozen"]) == (1, 2, True)
    listed = await alice.get(f"/datasets/{dataset['id']}/files")
    assert [file["path"] for file in listed["items"]] == [f"{data['id']}/b", f"{data['id']}/c"]
    refused = await alice.post(f"/data/{data['id']}/files/remove", {"paths": ["b"]}, 409)
    assert refused["code"] == "data_frozen"


async def test_files_are_paged_in_the_order_of_their_paths(alice: Caller) -> None:
    names = ("a", "a-b", "ab/c", "a.b", "é", "Z", "z/日本", "\U0001f600")
    many = [await alice.data({name: b"x" for name in names[: count + 1]}) for count in range(len(names))]
    several = [data["id"] for data in many]
    for entries in ({"flat": several}, {"splits": {"training": several[::2], "testing": several[1::2]}}):
        place = f"/datasets/{(await alice.dataset(entries))['id']}/files"
        whole = [file["path"] for file in (await alice.get(place, params={"limit": 1000}))["items"]]
        assert whole == sorted(whole) and len(whole) == sum(range(1, len(names) + 1))
        paged: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = await alice.get(place, params={"limit": 3, **more})
            paged += [file["path"] for file in page["items"]]
            if not page["next"]:
                break
            more = {"cursor": page["next"]}
        assert paged == whole


async def stopped_notebook(caller: Caller, dataset: int) -> int:
    notebook = await caller.post("/notebooks", {"dataset": {"id": dataset}})
    await caller.post(f"/notebooks/{notebook['id']}/stop", {"mode": "kill"}, 200)
    return int((await caller.ended(notebook["id"], "notebooks"))["id"])


async def test_a_notebook_goes_on_with_what_the_dataset_holds_now(alice: Caller) -> None:
    first, second = await alice.data({"f": b"1"}), await alice.data({"g": b"2"})
    dataset = await alice.dataset({"flat": [first["id"]]})
    place = f"/datasets/{dataset['id']}"
    number = await stopped_notebook(alice, dataset["id"])
    at_work = await alice.post("/notebooks", {"dataset": {"id": dataset["id"]}})
    changed = await alice.put(f"{place}/entries", {"flat": [second["id"]]})
    again = await alice.post(f"/notebooks/{number}/start", None, 200)
    assert again["dataset"] == {"id": dataset["id"], "version": changed["version"]["number"]}
    for notebook in (number, at_work["id"]):
        await alice.until(notebook, "preparing", "notebooks")
        await alice.post(f"/notebooks/{notebook}/stop", {"mode": "kill"}, 200)
        assert (await alice.ended(notebook, "notebooks"))["phase"] == "killed"
        await alice.delete(f"/notebooks/{notebook}")
    await alice.delete(place)


async def test_a_notebook_whose_version_is_gone_goes_on_and_can_be_deleted(service: Running, alice: Caller) -> None:
    """As databases have it in which entries were replaced before versions kept their numbers."""
    data = await alice.data({"f": b"1"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    place = f"/datasets/{dataset['id']}"
    numbers = [await stopped_notebook(alice, dataset["id"]) for _ in range(2)]
    await alice.post(f"{place}/versions", {"flat": []})
    async with service.database.write() as session:
        await session.execute(delete(VersionRow).where(VersionRow.dataset_id == dataset["id"], VersionRow.number == 1))
    again = await alice.post(f"/notebooks/{numbers[0]}/start", None, 200)
    assert again["dataset"] == {"id": dataset["id"], "version": 2}
    await alice.post(f"/notebooks/{numbers[0]}/stop", {"mode": "kill"}, 200)
    await alice.ended(numbers[0], "notebooks")
    for number in numbers:
        await alice.delete(f"/notebooks/{number}")
    await alice.delete(place)


async def test_a_version_that_is_not_current_follows_its_data_too(alice: Caller) -> None:
    data, other = await alice.data({"a": b"one"}), await alice.data({"x": b"x"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    await alice.post(f"/datasets/{dataset['id']}/versions", {"flat": [other["id"]]})
    await alice.post(f"/data/{data['id']}/files", {"files": await alice.upload({"b": b"two"})}, 200)
    run = await alice.train(f"cat $KQI_ROOT/input/{data['id']}/*", dataset={"id": dataset["id"], "version": 1})
    await alice.ended(run["id"])
    assert await alice.log(run["id"]) == "onetwo"
    kept = await alice.get(f"/datasets/{dataset['id']}/versions")
    assert [(version["number"], version["frozen"]) for version in kept["items"]] == [(2, False), (1, True)]


async def test_deleting_the_last_run_lets_a_version_change_again(alice: Caller) -> None:
    data = await alice.data({"f": b"1"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    run = await alice.train("true", dataset={"id": dataset["id"]})
    await alice.ended(run["id"])
    assert (await alice.get(f"/datasets/{dataset['id']}"))["frozen"]
    await alice.delete(f"/trainings/{run['id']}")
    assert not (await alice.get(f"/datasets/{dataset['id']}"))["frozen"]


async def test_wrong_entries_are_refused_with_the_reason(alice: Caller, stranger: Caller) -> None:
    data = await alice.data({"f": b"1"})
    foreign = await stranger.data({"f": b"1"})
    for entries, code in (
        ({"splits": {"nonsense": [data["id"]]}}, "data_type_unknown"),
        ({"splits": {"training": [data["id"], data["id"]]}}, "data_twice"),
        ({"flat": [foreign["id"]]}, "data_missing"),
        ({"flat": [data["id"]], "splits": {}}, "entries_one_of"),
        ({}, "entries_one_of"),
    ):
        refused = await alice.post("/datasets", {"name": "d", "entries": entries}, 422)
        assert refused["code"] == code


async def test_where_each_file_lies_is_told_in_pages(alice: Caller) -> None:
    data = await alice.data({f"{n}.txt": b"x" for n in range(5)})
    dataset = await alice.dataset({"splits": {"validation": [data["id"]]}})
    place = f"/datasets/{dataset['id']}/files"
    first = await alice.get(place, params={"limit": 3})
    second = await alice.get(place, params={"limit": 3, "cursor": first["next"]})
    paths = [item["path"] for item in first["items"] + second["items"]]
    assert paths == [f"validation/{data['id']}/{n}.txt" for n in range(5)]
    assert second["next"] is None


async def test_data_types_belong_to_the_tenant_and_to_its_manager(service: Running, alice: Caller) -> None:
    assert (await alice.get("/data-types"))["names"] == ["training", "validation", "testing"]
    assert (await alice.put("/data-types", {"names": ["holdout"]}, 403))["code"] == "not_permitted"
