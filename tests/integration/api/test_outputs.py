"""What a run made, and what was put beside it, as it is downloaded."""

import asyncio
import io
import os
import time
import zipfile

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def version(alice: Caller, place: str) -> str:
    """Return the ETag, which a file has when it has not been written to for a moment."""
    deadline = time.monotonic() + 30
    while "etag" not in (answer := await alice.client.get(place)).headers:
        assert answer.status_code == 200 and time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
    return answer.headers["etag"]


async def test_the_rest_of_an_output_can_be_had_for_as_long_as_it_is_the_same(alice: Caller, service: Running) -> None:
    run = await alice.train("printf 0123456789 > $KQI_ROOT/output/f")
    await alice.ended(run["id"])
    place = f"/trainings/{run['id']}/outputs/content/f"
    first = await version(alice, place)
    rest = await alice.client.get(place, headers={"Range": "bytes=7-", "If-Range": first})
    assert (rest.status_code, rest.content, rest.headers["etag"]) == (206, b"789", first)
    (service.settings.store / "runs" / "training" / str(run["id"]) / "output" / "f").write_bytes(b"abcdefghij")
    changed = await alice.client.get(place, headers={"Range": "bytes=7-", "If-Range": first})
    assert (changed.status_code, changed.content) == (200, b"abcdefghij")
    second = await version(alice, place)
    assert second != first
    rest = await alice.client.get(place, headers={"Range": "bytes=7-", "If-Range": second})
    assert (rest.status_code, rest.content) == (206, b"hij")


async def test_the_rest_of_an_attachment_can_be_had(alice: Caller) -> None:
    run = await alice.train("true")
    await alice.ended(run["id"])
    place = f"/trainings/{run['id']}/attachments/notes.txt"
    assert (await alice.client.put(place, content=b"0123456789")).status_code == 204
    headers = {"Range": "bytes=7-", "If-Range": await version(alice, place)}
    assert (await alice.client.get(place, headers=headers)).content == b"789"


async def test_no_attachment_is_missing_from_the_list_because_of_its_name(alice: Caller, service: Running) -> None:
    run = await alice.train("cd $KQI_ROOT/attach; echo x > .state; echo x > ..tmp; echo x > .0123456789abcdef.tmp")
    await alice.ended(run["id"])
    place = f"/trainings/{run['id']}/attachments"
    made = {".state", "..tmp", ".0123456789abcdef.tmp"}
    for name in ("x.tmp", "tmp", "a.tmp.tmp"):
        assert (await alice.client.put(f"{place}/{name}", content=b"x\n")).status_code == 204
        made.add(name)
    unfinished = ".kqi-0123456789abcdef.tmp"
    refused = await alice.client.put(f"{place}/{unfinished}", content=b"x")
    assert refused.json()["code"] == "attachment_name_not_valid"
    (service.settings.store / "runs" / "training" / str(run["id"]) / "attach" / unfinished).write_bytes(b"half")
    listed = {item["name"] for item in (await alice.get(place))["items"] if not item["locked"]}
    assert listed == made
    await alice.get(f"{place}/{unfinished}", 404)
    await alice.delete(f"{place}/{unfinished}", 404)
    for name in made:
        assert (await alice.client.get(f"{place}/{name}")).content == b"x\n"
        await alice.delete(f"{place}/{name}")


async def test_a_zip_is_compressed_where_that_makes_it_smaller(alice: Caller) -> None:
    files = {"long.txt": b"loss 0.5\n" * 100_000, "random.bin": os.urandom(300_000), "empty": b"", "d/x": b"x"}
    data = await alice.data(files)
    run = await alice.train(
        "cd $KQI_ROOT/output; yes 'loss 0.5' | head -n 100000 > long.txt; head -c 300000 /dev/urandom > random.bin"
    )
    await alice.ended(run["id"])
    for place in (
        f"/data/{data['id']}/archive.zip",
        f"/trainings/{run['id']}/outputs.zip",
        f"/trainings/{run['id']}/attachments/output.zip",
    ):
        answer = await alice.client.get(place)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            assert packed.testzip() is None
            assert packed.read("long.txt") == files["long.txt"]
            assert packed.getinfo("long.txt").compress_size < 10_000
            assert packed.getinfo("random.bin").compress_type == zipfile.ZIP_STORED, place
            assert packed.read("random.bin") == files["random.bin"] or not place.startswith("/data")


async def test_a_range_of_other_data_than_one_had_is_all_of_it(alice: Caller) -> None:
    data = await alice.data({"f": b"0123456789"})
    answer = await alice.client.get(
        f"/data/{data['id']}/content/f", headers={"Range": "bytes=7-", "If-Range": '"other"'}
    )
    assert (answer.status_code, answer.content) == (200, b"0123456789")
