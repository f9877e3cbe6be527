"""Data: what may be uploaded, changed, downloaded and deleted."""

import io
import resource
import zipfile

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, packed, sha256, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_files_in_folders_come_back_byte_for_byte(alice: Caller) -> None:
    files = {"a/b/ほげ.txt": "内容".encode(), "empty": b"", "a/x y.bin": bytes(range(256))}
    data = await alice.data(files, tags=["2026", "猫"], memo="two\nlines")
    assert (data["files"], data["bytes"]) == (3, sum(map(len, files.values())))
    listed = await alice.get(f"/data/{data['id']}/files")
    assert {item["path"]: item["sha256"] for item in listed["items"]} == {p: sha256(c) for p, c in files.items()}
    for path, content in files.items():
        answer = await alice.client.get(f"/data/{data['id']}/content/{path}")
        assert answer.content == content
        assert answer.headers["etag"] == f'"{sha256(content)}"'
    archive = await alice.client.get(f"/data/{data['id']}/archive.zip")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as found:
        assert {name: found.read(name) for name in found.namelist()} == files


async def test_a_range_of_a_file_can_be_had(alice: Caller) -> None:
    data = await alice.data({"f": b"0123456789"})
    place = f"/data/{data['id']}/content/f"
    for header, status, content in (
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=20-", 416, b""),
        ("lines=1-2", 200, b"0123456789"),
    ):
        answer = await alice.client.get(place, headers={"Range": header})
        assert (answer.status_code, answer.content) == (status, content), header


async def test_a_large_file_in_parts_survives_a_cut_anywhere(alice: Caller) -> None:
    content = bytes(range(256)) * 1024  # 4 parts of 64 KiB
    step = 2**16
    asked = {"size": len(content), "sha256": sha256(content), "part_size": step}
    upload = await alice.post("/uploads", asked, 200)
    parts = [content[start : start + step] for start in range(0, len(content), step)]

    async def send(number: int, body: bytes, status: int = 204, digest: str | None = None) -> None:
        answer = await alice.client.put(
            f"/uploads/{upload['id']}/parts/{number}", content=body, headers={"X-Part-Sha256": digest or sha256(body)}
        )
        assert answer.status_code == status, answer.text

    await send(2, parts[2])
    await send(0, parts[0][:-1], 422)  # cut short
    await send(1, parts[1], 422, digest=sha256(b"other"))  # damaged
    await send(9, parts[1], 422)  # no such part
    again = await alice.post("/uploads", asked, 200)
    assert (again["id"], again["parts"]) == (upload["id"], [2])
    missing = await alice.post(f"/uploads/{upload['id']}/complete", None, 409)
    assert missing["code"] == "upload_parts_missing"
    for number in (3, 0, 1):
        await send(number, parts[number])
    done = await alice.post(f"/uploads/{upload['id']}/complete", None, 200)
    assert done["complete"]
    data = await alice.post("/data", {"name": "large", "files": [{"path": "big", "sha256": sha256(content)}]})
    assert (await alice.client.get(f"/data/{data['id']}/content/big")).content == content


async def test_a_file_that_no_store_takes_is_refused_with_a_sentence(alice: Caller) -> None:
    body = {"sha256": "3" * 64, "size": 21_990_232_555_520, "part_size": 2**30}
    assert (await alice.post("/uploads", body, 422))["code"] == "invalid_request"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, hard))  # a file system whose files are smaller
    try:
        assert (await alice.post("/uploads", {**body, "size": 2**41}, 413))["code"] == "file_too_large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_file_with_another_hash_than_promised_is_refused_and_can_be_sent_again(alice: Caller) -> None:
    right, wrong = b"r" * 2**16, b"w" * 2**16
    upload = await alice.post("/uploads", {"size": len(right), "sha256": sha256(right), "part_size": 2**16}, 200)
    place = f"/uploads/{upload['id']}"
    await alice.client.put(f"{place}/parts/0", content=wrong, headers={"X-Part-Sha256": sha256(wrong)})
    assert (await alice.post(f"{place}/complete", None, 409))["code"] == "upload_wrong_hash"
    assert (await alice.get(place))["parts"] == []
    await alice.client.put(f"{place}/parts/0", content=right, headers={"X-Part-Sha256": sha256(right)})
    assert (await alice.post(f"{place}/complete", None, 200))["complete"]


async def test_knowing_a_hash_does_not_give_its_content(alice: Caller, stranger: Caller) -> None:
    secret = b"only for this tenant"
    await alice.data({"secret": secret})
    assert (await stranger.post("/blobs/find", {"sha256": [sha256(secret)]}, 200))["sha256"] == []
    refused = await stranger.post("/data", {"name": "x", "files": [{"path": "f", "sha256": sha256(secret)}]}, 422)
    assert refused["code"] == "content_not_uploaded"
    assert (await alice.post("/blobs/find", {"sha256": [sha256(secret)]}, 200))["sha256"] == [sha256(secret)]


async def test_names_in_a_data_are_unique_and_no_file_is_also_a_folder(alice: Caller) -> None:
    files = await alice.upload({"a": b"1", "b/c": b"2"})
    data = await alice.post("/data", {"name": "d", "files": files})
    place = f"/data/{data['id']}/files"
    one = files[1]["sha256"]
    for path, code in (("a", "file_exists"), ("a/x", "file_is_folder"), ("b", "file_is_folder")):
        assert (await alice.post(place, {"files": [{"path": path, "sha256": one}]}, 409))["code"] == code
    twice = {"files": [{"path": "z", "sha256": one}] * 2}
    assert (await alice.post(place, twice, 422))["code"] == "file_twice"
    changed = await alice.post(f"{place}/remove", {"paths": ["a", "not there"]}, 200)
    assert changed["files"] == 1


async def test_files_that_have_come_may_be_added_again(alice: Caller) -> None:
    """Adding many files takes several requests: one that was cut is begun again as a whole."""
    files = await alice.upload({"a": b"1", "b/c": b"2", "d": b"3"})
    data = await alice.post("/data", {"name": "d", "files": files[:1]})
    place = f"/data/{data['id']}/files"
    assert (await alice.post(place, {"files": files[:2]}, 200))["files"] == 2
    again = await alice.post(place, {"files": files}, 200)
    assert (again["files"], again["bytes"]) == (3, 3)
    assert {file["path"] for file in (await alice.get(place))["items"]} == {"a", "b/c", "d"}


async def test_data_in_several_requests_is_there_with_its_last_files_and_not_before(alice: Caller) -> None:
    files = await alice.upload({f"f/{number}": str(number).encode() for number in range(6)})
    data = await alice.post("/data", {"name": "d", "tags": ["later"], "files": files[:2], "more": True})
    place = f"/data/{data['id']}"
    await alice.post(f"{place}/files", {"files": files[2:4], "more": True}, 200)
    for path in (place, f"{place}/files", f"{place}/content/f/0", f"{place}/preview/f/0", f"{place}/archive.zip"):
        await alice.get(path, 404)
    await alice.post(f"{place}/shares", {"tenant": alice.tenant}, 404)
    assert (await alice.get("/data"))["items"] == [] and (await alice.get("/tags"))["items"] == []
    await alice.post("/datasets", {"name": "s", "entries": {"flat": [data["id"]]}}, 422)
    whole = await alice.post(f"{place}/files", {"files": files[4:]}, 200)
    assert whole["files"] == 6 and [item["id"] for item in (await alice.get("/data"))["items"]] == [data["id"]]
    assert len((await alice.get(f"{place}/files"))["items"]) == 6 and (await alice.get("/tags"))["items"] == ["later"]


async def test_data_of_a_used_dataset_keeps_its_files_but_not_its_name(alice: Caller) -> None:
    data = await alice.data({"f": b"x"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    assert (await alice.delete(f"/data/{data['id']}", 409))["code"] == "data_in_dataset"
    run = await alice.train("true", dataset={"id": dataset["id"]})
    remove = {"paths": ["f"]}
    assert (await alice.post(f"/data/{data['id']}/files/remove", remove, 409))["code"] == "data_frozen"
    renamed = await alice.patch(f"/data/{data['id']}", {"name": "renamed", "tags": ["t"]})
    assert (renamed["name"], renamed["tags"], renamed["frozen"]) == ("renamed", ["t"], True)
    await alice.ended(run["id"])


async def test_a_list_is_searched_by_text_and_tag_and_paged_without_gaps(alice: Caller) -> None:
    made = [(await alice.post("/data", {"name": f"pic {n}%", "tags": [f"t{n % 2}"]}))["id"] for n in range(5)]
    seen: list[int] = []
    cursor = None
    while True:
        page = await alice.get("/data", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)
    assert len((await alice.get("/data", params={"tag": "t1"}))["items"]) == 2
    assert len((await alice.get("/data", params={"q": "3%"}))["items"]) == 1
    assert (await alice.get("/tags"))["items"] == ["t0", "t1"]
    assert (await alice.get("/data", 422, params={"cursor": "nonsense"}))["code"] == "cursor_not_valid"


async def test_a_preview_can_run_nothing(alice: Caller) -> None:
    data = await alice.data({"page.html": b"<script>alert(1)</script>", "p.png": b"\x89PNG", "x.bin": b"\0"})
    shown = await alice.client.get(f"/data/{data['id']}/preview/page.html")
    assert shown.headers["content-type"].startswith("text/plain")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert (await alice.client.get(f"/data/{data['id']}/preview/p.png")).headers["content-type"] == "image/png"
    assert (await alice.get(f"/data/{data['id']}/preview/x.bin", 422))["code"] == "no_preview"


async def test_a_batch_that_is_no_tar_or_holds_links_stores_nothing(alice: Caller) -> None:
    headers = {"Content-Type": "application/x-tar"}
    whole = packed({"f": b"x" * 5000})
    for content in (b"no tar at all" * 100, whole[:3000]):
        answer = await alice.client.post("/uploads/batch", content=content, headers=headers)
        assert answer.status_code == 422, answer.text
    answer = await alice.client.post("/uploads/batch", content=packed({"../up": b"x"}), headers=headers)
    assert answer.json()["code"] == "file_path_not_valid"


async def test_others_data_do_not_exist_for_a_stranger(alice: Caller, stranger: Caller) -> None:
    data = await alice.data({"f": b"x"})
    place = f"/data/{data['id']}"
    for path in (place, f"{place}/files", f"{place}/content/f", f"{place}/archive.zip", f"{place}/preview/f"):
        assert (await stranger.get(path, 404))["code"] == "not_found"
    await stranger.patch(place, {"name": "mine"}, 404)
    await stranger.post(f"{place}/files/remove", {"paths": ["f"]}, 404)
    await stranger.delete(place, 404)
    await stranger.post("/datasets", {"name": "d", "entries": {"flat": [data["id"]]}}, 422)
    assert (await stranger.get("/data", 404, params={"tenant": alice.tenant}))["code"] == "not_found"


async def test_a_repeated_create_makes_one_and_gives_the_same_answer(alice: Caller) -> None:
    headers = {"Idempotency-Key": "same"}
    first = await alice.post("/data", {"name": "once"}, headers=headers)
    assert await alice.post("/data", {"name": "once"}, headers=headers) == first
    other = await alice.post("/data", {"name": "another"}, 409, headers=headers)
    assert other["code"] == "idempotency_key_reused"
    assert len((await alice.get("/data"))["items"]) == 1


async def test_an_unchanged_answer_is_not_sent_again(alice: Caller) -> None:
    data = await alice.post("/data", {"name": "d"})
    first = await alice.client.get(f"/data/{data['id']}")
    same = await alice.client.get(f"/data/{data['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    await alice.patch(f"/data/{data['id']}", {"memo": "changed"})
    changed = await alice.client.get(f"/data/{data['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


async def test_every_list_is_narrowed_to_a_creator_and_a_time(alice: Caller, service: Running) -> None:
    async with await signed_in(service, "bob-of-lists", alice.tenant) as bob:
        for caller in (alice, bob):
            data = await caller.data({"f": b"1"}, name=f"by {caller.name}")
            await caller.dataset({"flat": [data["id"]]}, name=f"by {caller.name}")
            await caller.ended((await caller.train("true", title=f"by {caller.name}"))["id"])
        for path, field in {"/data": "name", "/datasets": "name", "/trainings": "title"}.items():

            async def named(path: str = path, field: str = field, **where: str) -> list[str]:
                return [item[field] for item in (await alice.get(path, params=where))["items"]]

            mine, his = f"by {alice.name}", f"by {bob.name}"
            assert set(await named()) >= {mine, his}
            assert await named(created_by=bob.name) == [his]
            assert mine in await named(created_by=alice.name) and his not in await named(created_by=alice.name)
            assert await named(created_by="nobody") == await named(created_by="") == []
            (made,) = (await alice.get(path, params={"created_by": bob.name}))["items"]
            at = made["created_at"]
            assert his in await named(since=at) and his not in await named(until=at)
            assert await named(since=at, until=at) == []
            for no_time in ("2031-05-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon"):
                assert (await alice.get(path, 422, params={"since": no_time}))["code"] == "invalid_request"
