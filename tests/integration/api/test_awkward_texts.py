"""Awkward texts in every text field: given back byte for byte, or refused with a sentence; never a 500."""

import asyncio
import copy
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.bodies import bodies_of_an_account, bodies_of_groups
from tests.integration.api.caller import Caller, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(9000)]

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


# `make drills` tries every text in every field, `make test` some of them in one field each.
FULL = os.environ.get("KQI_DRILLS") == "full"
TEXTS = [text for text in corpus(5_000) if sendable(text)]
SOME = TEXTS if FULL else TEXTS[:700]
# What comes back under the same name in the answer; of the others only the outcome is looked at.
_SHOWN = {"name", "memo", "title", "command", "image", "display_name"}


async def test_every_text_field_of_every_body(service: Running) -> None:
    """Each text is given back byte for byte, or refused with a sentence; never a 500."""
    async with await signed_in(service, "texts", "texts", administrator=True) as caller:
        await _try_every_field(caller)
        await caller.leave()


async def _try_every_field(alice: Caller) -> None:
    bases = await _bases(alice)
    document = await alice.get("/openapi.json")
    fields = [(schema, field) for schema in bases for field in _fields(document["components"]["schemas"], schema)]
    bodies = {schema for schema in _bodies(document) if _fields(document["components"]["schemas"], schema)}
    assert bodies == set(bases), "a body with texts is not tried"
    assert len(fields) > 40
    places: dict[str, list[str]] = {}
    for schema, field in fields:
        places.setdefault(field, []).append(schema)
    # In full every text goes into every field, of one of the bodies that have it, in turn.
    tried = [
        (schemas[(index if FULL else index // len(places)) % len(schemas)], field, text)
        for index, text in enumerate(TEXTS if FULL else TEXTS[:3000])
        for field, schemas in (places.items() if FULL else [list(places.items())[index % len(places)]])
    ]
    taken: Counter[str] = Counter()

    async def go_on() -> None:
        while tried:
            schema, field, text = tried.pop()
            if await _take(alice, bases[schema], field, text):
                taken[field] += 1

    await asyncio.gather(*[go_on() for _ in range(4)])
    assert {"name", "memo", "tags[]", "title", "command", "image"} <= taken.keys()


async def _take(alice: Caller, base: tuple[str, str, dict[str, Any]], field: str, text: str) -> bool:
    method, path, body = base
    answer = await alice.client.request(method, path, json=_with(body, field, text))
    if answer.status_code >= 300:
        fine = {400, 404, 409, 412, 422, *([429] if path in {"/device", "/ssh-keys/import"} else [])}
        assert answer.status_code in fine, (path, field, text, answer.text[:300])
        assert answer.json()["detail"]
        return False
    made = answer.json() if answer.content else {}
    if field in _SHOWN and text and made.get(field) is not None:
        assert made[field] == text, (path, field)
    if field == "tags[]":
        assert made["tags"] == [text]
    if "phase" in made and method == "POST":
        stopped = await alice.client.post(f"/{made['kind']}s/{made['id']}/stop", json={"mode": "kill"})
        # It may have come to its own end meanwhile.
        assert stopped.status_code == 200 or stopped.json()["code"] == "run_ended", stopped.text
    return True


async def _bases(alice: Caller) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return a request of every kind that is fine as it is, but for the text that is put in."""
    data = await alice.data({"f": b"x"})
    await alice.data({"g": b"x"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    holder = await alice.post("/trainings", {"command": "sleep 600", "resources": {**_SMALL, "gpu": 2}})
    # Both cards are held: what is submitted waits, and can be thrown away again.
    waits = {"resources": {**_SMALL, "gpu": 1}}
    ended = await alice.train("true")
    await alice.ended(ended["id"])
    changed, run, sha256 = f"/data/{data['id']}", f"/trainings/{ended['id']}", "0" * 64
    return {
        **await bodies_of_groups(alice, data["id"]),
        **await bodies_of_an_account(alice),
        "AddFiles": ("POST", f"{changed}/files", {"files": [{"path": "p", "sha256": sha256}]}),
        "ChangeData": ("PATCH", changed, {}),
        "ChangeDataset": ("PATCH", f"/datasets/{dataset['id']}", {}),
        "ChangePerson": ("PATCH", "/me", {}),
        "ChangeRun": ("PATCH", run, {}),
        "CopyDataset": ("POST", f"/datasets/{dataset['id']}/copy", {"name": "copy"}),
        "CopyTraining": ("POST", f"/trainings/{holder['id']}/copy", {}),
        "CreateData": ("POST", "/data", {"name": "n", "files": [{"path": "p", "sha256": sha256}]}),
        "CreateDataset": ("POST", "/datasets", {"name": "n", "entries": {"splits": {}}}),
        "CreateNotebook": ("POST", "/notebooks", {**waits}),
        "CreateToken": ("POST", "/tokens", {"name": "n"}),
        "CreateTraining": ("POST", "/trainings", {"command": "true", **waits}),
        "DataTypes": ("PUT", "/data-types", {"names": ["a"]}),
        "Entries": ("POST", f"/datasets/{dataset['id']}/versions", {"splits": {}}),
        "FindBlobs": ("POST", "/blobs/find", {"sha256": [sha256]}),
        "RedeemDevice": ("POST", "/device/token", {"device_code": "c"}),
        "RemoveFiles": ("POST", f"{changed}/files/remove", {"paths": ["p"]}),
        "StartDevice": ("POST", "/device", {"client": "c"}),
        "StartUpload": ("POST", "/uploads", {"sha256": sha256, "size": 1, "part_size": 2**20}),
    }


_SMALL = {"cpu": 0.1, "memory_gb": 0.1}


def _bodies(document: dict[str, Any]) -> set[str]:
    found = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref")
            found |= {reference.rsplit("/", 1)[-1]} if reference else set()
    return found


def _fields(schemas: dict[str, Any], name: str) -> list[str]:
    """Return the places of texts in a body: `memo`, `tags[]`, `source.url`, `environment{}`, `splits{key}`."""
    return sorted({place.lstrip(".") for place in _texts(schemas, {"$ref": f"#/{name}"}, frozenset())})


def _texts(schemas: dict[str, Any], of: dict[str, Any], seen: frozenset[str]) -> Iterator[str]:
    if "$ref" in of:
        name = of["$ref"].rsplit("/", 1)[-1]
        if name not in seen:
            yield from _texts(schemas, schemas[name], seen | {name})
    for choice in (*of.get("anyOf", ()), *of.get("oneOf", ())):
        yield from _texts(schemas, choice, seen)
    if of.get("type") == "string" and not of.keys() & {"enum", "format", "const"}:
        yield ""
    for key, value in of.get("properties", {}).items():
        yield from (f".{key}{place}" for place in _texts(schemas, value, seen))
    if "items" in of:
        yield from (f"[]{place}" for place in _texts(schemas, of["items"], seen))
    if isinstance(of.get("additionalProperties"), dict):
        yield "{key}"
        yield from (f"{{}}{place}" for place in _texts(schemas, of["additionalProperties"], seen))


def _with(body: dict[str, Any], field: str, text: str) -> dict[str, Any]:
    """Return `body` with `text` at the place that `field` names."""
    made = copy.deepcopy(body)
    head, dot, rest = field.partition(".")
    key, mark, _ = head.partition("[" if "[" in head else "{")
    if dot and mark:
        made[key] = [_with((made.get(key) or [{}])[0], rest, text)]
    elif dot:
        made[key] = _with(made.get(key) or ({"kind": "git"} if key == "source" else {}), rest, text)
    elif mark == "[":
        made[key] = [text]
    elif mark == "{":
        made[key] = {text: []} if head.endswith("{key}") and key == "splits" else {"VALUE": text}
        made[key] = {text: "value"} if head == "environment{key}" else made[key]
    else:
        made[key] = text
    return made


async def test_paths_of_files(service: Running, alice: Caller) -> None:
    """Awkward paths in one data: each is refused, or its content comes back under that very path."""
    sha256 = (await alice.upload({"f": b"canary"}))[0]["sha256"]
    kept: list[str] = []
    data = await alice.post("/data", {"name": "paths"})
    for path in dict.fromkeys(SOME):
        body = {"files": [{"path": path, "sha256": sha256}]}
        answer = await alice.client.post(f"/data/{data['id']}/files", json=body)
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
    for index, text in enumerate(SOME):
        answer = await alice.client.get(places[index % len(places)] + _quoted(text))
        assert answer.status_code < 500, (text, answer.text[:300])
        assert b"root:x:0" not in answer.content


async def test_searches_and_cursors(alice: Caller) -> None:
    for index, text in enumerate(SOME):
        name = ("q", "tag", "cursor", "tenant")[index % 4]
        answer = await alice.client.get("/data", params={name: text})
        assert answer.status_code in {200, 404, 422}, (name, text, answer.text[:300])


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode()) or "%20"
