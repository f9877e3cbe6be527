"""Awkward texts in every text field: given back byte for byte, or refused with a sentence; never a 500."""

import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

_SEEDS = [
    *("", " ", "\t", "a\nb", "a\r\nb", "\0", "a\0b", "\x7f", "\x1b[31mred", "\ud800"),
    *(
        "..",
        ".",
        "../..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "a/",
        "/a",
        "a/./b",
        "..\\..\\x",
        "C:\\x",
    ),
    *("%2e%2e", "%2e%2e%2f", "..%00", "%00", "%0a", "a%2fb", "&#46;&#46;", "\u2024\u2024", "\uff0e\uff0e/", "..;/"),
    *(
        "-rf",
        "--help",
        "-",
        "$(touch x)",
        "`touch x`",
        "${HOME}",
        "'; drop table runs; --",
        '"',
        "'",
        "\\",
        "|x",
        ";x",
        "&x",
    ),
    *("é", "é", "ﬁ", "Å", "한", "ｶﾞ", "猫", "\u202egnp.exe", "\u200fא", "a\u200bb", "\ufeffx", "🧪👩‍🔬"),
    *(
        "CON",
        "nul.txt",
        "aux",
        "a" * 255,
        "a" * 256,
        "猫" * 85,
        "猫" * 86,
        "x" * 4096,
        "{0}",
        "{{7*7}}",
        "%s%n",
        "<script>",
    ),
    *("= 1", "!a", "<a", ">a", "a,b", ".hidden", "~", "~root", "*", "?", "[a]", " lead", "trail ", "\u2028", "\u0085"),
]


def corpus(count: int) -> list[str]:
    """Return the seeds and mixtures of them; always the same ones."""
    dice = random.Random(20261123)
    found = list(_SEEDS)
    while len(found) < count:
        parts = [dice.choice(_SEEDS)[:100] for _ in range(dice.randint(2, 4))]
        mixed = dice.choice(["", "/", " ", ".", "\u0301"]).join(parts)
        found.append(
            unicodedata.normalize(dice.choice(["NFC", "NFD", "NFKC"]), mixed) if dice.random() < 0.3 else mixed
        )
    return found


def sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _try(alice: Caller, path: str, body: Any) -> Any:
    """Post it; return what was made, or None if it was refused with a sentence."""
    answer = await alice.client.post(path, json=body)
    if answer.status_code == 201:
        return answer.json()
    assert answer.status_code in {409, 422}, (answer.status_code, answer.text[:500])
    assert answer.json()["detail"]
    return None


TEXTS = [text for text in corpus(5_000) if sendable(text)]


async def test_names_memos_and_tags_of_data(alice: Caller) -> None:
    taken = 0
    for start in range(0, len(TEXTS), 5):
        for field, value in (
            ("name", TEXTS[start]),
            ("memo", TEXTS[start : start + 2][-1]),
            ("tags", [TEXTS[start : start + 3][-1]]),
        ):
            made = await _try(alice, "/data", {"name": "n", field: value})
            if made is not None:
                taken += 1
                assert made[field] == value
    assert taken > 500


async def test_paths_of_files(service: Running, alice: Caller) -> None:
    """Thousands of paths in one data: each is refused, or its content comes back under that very path."""
    sha256 = (await alice.upload({"f": b"canary"}))[0]["sha256"]
    kept: list[str] = []
    data = await alice.post("/data", {"name": "paths"})
    for start in range(0, len(TEXTS), 50):
        for path in dict.fromkeys(TEXTS[start : start + 50]):
            if start > 500 and path.startswith(tuple("abcx")):
                continue
            answer = await alice.client.post(
                f"/data/{data['id']}/files", json={"files": [{"path": path, "sha256": sha256}]}
            )
            assert answer.status_code in {200, 409, 422}, (path, answer.text[:300])
            if answer.status_code == 200:
                kept.append(path)
    listed: list[str] = []
    cursor = None
    while True:
        page = await alice.get(
            f"/data/{data['id']}/files", params={"limit": 1000, **({"cursor": cursor} if cursor else {})}
        )
        listed += [item["path"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(listed) == sorted(kept)
    assert not [path for path in kept if path.startswith("/") or ".." in path.split("/")]
    dataset = await alice.dataset({"flat": [data["id"]]})
    run = await alice.train(f"find $KQI_ROOT/input/{data['id']} -type f | wc -l", dataset={"id": dataset["id"]})
    await alice.ended(run["id"])
    assert int((await alice.log(run["id"])).strip()) >= len([path for path in kept if "\n" not in path])
    root = service.settings.store / "datasets" / str(dataset["id"])
    assert all(Path(found).resolve().is_relative_to(root) for found in root.rglob("*"))


async def test_titles_memos_images_and_parameters_of_runs(alice: Caller) -> None:
    """They are recorded and given back; the engine is kept out of it by an image that does not exist."""
    held = await alice.post(
        "/trainings", {"command": "sleep 600", "resources": {"cpu": 0.1, "memory_gb": 0.1, "gpu": 2}}
    )
    waits = {"command": "true", "resources": {"cpu": 0.1, "memory_gb": 0.1, "gpu": 1}}
    for index, text in enumerate(TEXTS[:600]):
        field = ("title", "memo", "image", "command", "name", "tags")[index % 6]
        value: Any = [text] if field == "tags" else text
        made = await _try(alice, "/trainings", {**waits, field: value})
        if made is None:
            continue
        assert made[field] == value
        await alice.post(f"/trainings/{made['id']}/stop", {"mode": "kill"}, 200)
    for text in TEXTS[:200]:
        made = await _try(alice, "/trainings", {**waits, "environment": {"VALUE": text}})
        if made is not None:
            assert made["environment"] == {"VALUE": text}
            await alice.post(f"/trainings/{made['id']}/stop", {"mode": "kill"}, 200)
    await alice.post(f"/trainings/{held['id']}/stop", {"mode": "kill"}, 200)
    await alice.ended(held["id"])


async def test_places_in_addresses(alice: Caller) -> None:
    data = await alice.data({"f": b"x"})
    run = await alice.train("true")
    await alice.ended(run["id"])
    places = (
        f"/data/{data['id']}/content/",
        f"/data/{data['id']}/preview/",
        f"/trainings/{run['id']}/outputs/content/",
        f"/trainings/{run['id']}/attachments/",
        "/uploads/",
        "/trainings/",
        "/datasets/",
    )
    for index, text in enumerate(TEXTS[:700]):
        answer = await alice.client.get(places[index % len(places)] + _quoted(text))
        assert answer.status_code < 500, (text, answer.text[:300])
        assert b"root:x:0" not in answer.content


async def test_searches_and_cursors(alice: Caller) -> None:
    for index, text in enumerate(TEXTS[:400]):
        name = ("q", "tag", "cursor", "tenant")[index % 4]
        answer = await alice.client.get("/data", params={name: text})
        assert answer.status_code in {200, 404, 422}, (name, text, answer.text[:300])


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode()) or "%20"
