"""Order, search and refusals do not depend on the engine: what is expected here holds for SQLite and PostgreSQL."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from kqi_hub.data.store import DataRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_paths_are_ordered_by_their_bytes_on_every_page(alice: Caller) -> None:
    paths = [
        "b",
        "B",
        "a",
        "A",
        "_",
        "-",
        "a b",
        "a-b",
        "ab",
        "é",
        "z",
        "zz",
        "猫",
        "犬",
        "ネコ",
        "ﾈｺ",
        "🧪",
        "Z/1",
        "Z/a",
    ]
    data = await alice.data({path: b"x" for path in paths})
    for limit in (1, 2, 7, 100):
        found: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await alice.get(f"/data/{data['id']}/files", params={"limit": limit, **cursor})
            found += [item["path"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == sorted(paths, key=str.encode)


async def test_a_prefix_is_taken_as_it_is_written(alice: Caller) -> None:
    data = await alice.data({path: b"x" for path in ("Cats/1", "cats/1", "cats/2", "cat_s", "c%", "猫/1", "猫/2")})
    for prefix, expected in {
        "cats/": ["cats/1", "cats/2"],
        "Cats": ["Cats/1"],
        "cat_": ["cat_s"],
        "c%": ["c%"],
        "猫/": ["猫/1", "猫/2"],
        "x": [],
    }.items():
        page = await alice.get(f"/data/{data['id']}/files", params={"prefix": prefix})
        assert [item["path"] for item in page["items"]] == expected, prefix


async def test_searches_find_the_same(alice: Caller) -> None:
    names = ["Cats and Dogs", "CATS", "猫の写真", "狗的照片", "ネコ", "É", "é", "100%", "a_b", "a\\b", "Straße", "İ"]
    for name in names:
        await alice.post("/data", {"name": name})
    for text, expected in {
        "cat": ["Cats and Dogs", "CATS"],
        "DOGS": ["Cats and Dogs"],
        "猫": ["猫の写真"],
        "照片": ["狗的照片"],
        "ネコ": ["ネコ"],
        "ねこ": [],
        "é": ["é"],  # only the letters of ASCII are the same in upper and lower case
        "%": ["100%"],
        "_": ["a_b"],
        "\\": ["a\\b"],
        "strasse": [],
        "SSE": [],
    }.items():
        page = await alice.get("/data", params={"q": text})
        assert sorted(item["name"] for item in page["items"]) == sorted(expected), text


async def test_tags_are_listed_by_their_bytes(alice: Caller) -> None:
    tags = ["b", "B", "a", "猫", "é", "_x"]
    await alice.post("/data", {"name": "tagged", "tags": tags})
    assert (await alice.get("/tags"))["items"] == sorted(tags, key=str.encode)
    page = await alice.get("/data", params={"tag": "A"})
    assert page["items"] == []


async def test_a_text_that_no_database_can_keep_is_refused_with_a_sentence(alice: Caller) -> None:
    data = await alice.data({"a": b"x"})
    asked = [
        *(f"/data?{name}=a%00b" for name in ("q", "tag", "tenant", "cursor")),
        *(f"/datasets?{name}=%00" for name in ("q", "tenant")),
        *(f"/trainings?{name}=%00" for name in ("q", "tag")),
        f"/data/{data['id']}/files?prefix=%00",
        f"/data/{data['id']}/files?cursor=ImFcdTAwMDBiIg",  # "a\u0000b"
        f"/data/{data['id']}/files?cursor=Ilx1ZDgwMCI",  # half of a surrogate pair
        f"/data/{data['id']}/content/%00",
        "/uploads/%00",
    ]
    for path in asked:
        answer = await alice.client.get(path)
        assert answer.status_code in {404, 422}, (path, answer.text)
        assert answer.json()["detail"], path
    for path, body in {
        "/data": '{"name": "a\\u0000b"}',
        "/tokens": '{"name": "a\\ud800b"}',
        "/trainings": '{"command": "echo \\u0000"}',
        "/uploads": '{"sha256": "\\u0000", "size": 1, "part_size": 1048576}',
        "/device": '{"client": "\\u0000"}',
    }.items():
        answer = await alice.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"], (path, answer.text)


async def test_sizes_and_numbers_beyond_32_bits_are_kept(alice: Caller) -> None:
    size = 5 * 2**30
    upload = await alice.post("/uploads", {"sha256": "ab" * 32, "size": size, "part_size": 2**30}, 200)
    assert (await alice.get(f"/uploads/{upload['id']}"))["size"] == size
    await alice.get(f"/data/{2**53 - 1}", 404)
    await alice.get(f"/trainings/{2**53 - 1}", 404)


async def test_writers_come_one_after_the_other_and_readers_see_one_moment(service: Running, alice: Caller) -> None:
    data = await alice.post("/data", {"name": "0"})
    bodies = [{"name": f"written {number}"} for number in range(8)]
    await asyncio.gather(*[alice.patch(f"/data/{data['id']}", body) for body in bodies])

    async def raise_it() -> None:
        async with service.database.write() as session:
            row = await session.get_one(DataRow, data["id"])
            before = row.size
            await asyncio.sleep(0.005)
            await session.execute(update(DataRow).where(DataRow.id == row.id).values(size=before + 1))

    await asyncio.gather(*[raise_it() for _ in range(9)])
    size = select(DataRow.size).where(DataRow.id == data["id"])
    async with service.database.read() as reading:
        assert await reading.scalar(size) == 9
        await raise_it()
        assert await reading.scalar(size) == 9
    async with service.database.read() as reading:
        assert await reading.scalar(size) == 10
