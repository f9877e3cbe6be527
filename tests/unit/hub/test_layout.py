"""Where the files of a dataset version lie: no two in one place, none outside, and always the same."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from kqi import schema
from kqi_hub.datasets.layout import META, Placed, meta, placed
from kqi_hub.datasets.model import FLAT, Dataset, Layout, Version
from kqi_hub.datasets.trees import lay_out
from kqi_hub.storage.blobs import Blobs
from kqi_hub.storage.store import Store
from tests.integration.api.caller import sha256

AT = datetime(2024, 1, 1, tzinfo=UTC)
PATH: TypeAdapter[str] = TypeAdapter(schema.FilePath)

part = st.one_of(
    st.sampled_from([META, "training", "test", "1", "12", "...", ".building", "a b", "ä猫", "-rf", "*", "\\", "~"]),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), exclude_characters="/"), min_size=1),
).filter(lambda text: text not in {".", ".."} and len(text.encode()) <= 255)
path = st.lists(part, min_size=1, max_size=4).map("/".join)
split = st.from_regex(r"\A[a-z][a-z0-9_-]{0,31}\Z")  # the rule of `DataTypes`
number = st.integers(1, 60)


def without_clashes(paths: list[str]) -> list[str]:
    """What the rules of data leave: no path twice, and no name a file and a folder at once."""
    kept: set[str] = set()
    for text in paths:
        above = {text.rsplit("/", depth)[0] for depth in range(1, text.count("/") + 1)}
        if not above & kept and not any(other == text or other.startswith(f"{text}/") for other in kept):
            kept.add(text)
    return sorted(kept)


@st.composite
def versions(draw: st.DrawFn) -> tuple[Version, dict[int, list[tuple[str, str, int]]]]:
    ids = st.lists(number, unique=True, max_size=5)
    entries = draw(st.dictionaries(split, ids, min_size=1, max_size=4) | ids.map(lambda held: {FLAT: held}))
    files = {
        data: [(text, sha256(text.encode()), len(text.encode())) for text in without_clashes(paths)]
        for data, paths in draw(st.dictionaries(number, st.lists(path, max_size=6), max_size=8)).items()
    }
    held = [file for ids in entries.values() for data in ids for file in files.get(data, ())]
    return (
        Version(
            key=1,
            dataset=3,
            number=2,
            entries=entries,
            files=len(held),
            size=sum(size for _, _, size in held),
            state=Layout.PENDING,
            message="",
            frozen=False,
            created_at=AT,
        ),
        files,
    )


def dataset(version: Version, name: str = "some", memo: str = "") -> Dataset:
    return Dataset(
        id=3,
        tenant="t",
        name=name,
        memo=memo,
        flat=version.flat,
        version=version,
        created_by="p",
        created_at=AT,
        changed_at=AT,
    )


@given(versions())
def test_each_file_has_a_place_of_its_own_inside_the_tree(
    made: tuple[Version, dict[int, list[tuple[str, str, int]]]],
) -> None:
    version, files = made
    found = placed(version, files)
    assert len(found) == version.files and sum(file.size for file in found) == version.size
    places = [file.path for file in found]
    assert len(set(places)) == len(places)
    taken = {*places, META}
    for file in found:
        parts = file.path.split("/")
        assert parts[0] != META
        assert not {"", ".", ".."} & set(parts)
        assert not {"/".join(parts[:depth]) for depth in range(1, len(parts))} & taken
        held = version.entries[FLAT] if version.flat else version.entries[parts.pop(0)]
        assert int(parts[0]) == file.data and file.data in held
        assert ("/".join(parts[1:]), file.sha256, file.size) in files[file.data]


@given(versions(), st.randoms())
def test_the_places_do_not_depend_on_the_order_in_which_data_were_read(
    made: tuple[Version, dict[int, list[tuple[str, str, int]]]], chance: Random
) -> None:
    version, files = made
    keys = list(files)
    chance.shuffle(keys)
    assert placed(version, files) == placed(version, {key: files[key] for key in keys})


@given(versions(), st.text(), st.text(), st.dictionaries(number, st.tuples(st.text(), st.lists(st.text()))))
def test_the_description_says_what_the_version_is(
    made: tuple[Version, dict[int, list[tuple[str, str, int]]]],
    name: str,
    memo: str,
    names: dict[int, tuple[str, list[str]]],
) -> None:
    version, _ = made
    text = meta(dataset(version, name, memo), version, names)
    assert text == meta(dataset(version, name, memo), version, dict(reversed(names.items())))
    read = json.loads(text)
    assert (read["id"], read["name"], read["memo"], read["version"]) == (3, name, memo, 2)
    assert (read["flat"], read["files"], read["bytes"]) == (version.flat, version.files, version.size)
    assert [(entry["type"], entry["id"], entry["name"], entry["tags"]) for entry in read["entries"]] == [
        (split or None, data, *names[data]) for split, ids in version.entries.items() for data in ids if data in names
    ]


@settings(max_examples=30)
@given(versions(), st.booleans())
def test_the_tree_on_the_disk_holds_these_files_and_no_other(
    made: tuple[Version, dict[int, list[tuple[str, str, int]]]], half_made: bool
) -> None:
    version, files = made
    found = placed(version, files)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.prepare()
        blobs = Blobs(store)
        for held in files.values():
            for content, digest, _ in held:
                blobs.path(digest).parent.mkdir(exist_ok=True)
                blobs.path(digest).write_bytes(content.encode())
        target = store.path(version.place)
        if half_made:
            (target.parent / f".{target.name}.building" / "other").mkdir(parents=True)
            (target / "left").mkdir(parents=True)
        splits = [] if version.flat else list(version.entries)
        lay_out(target, found, splits, meta(dataset(version), version, {}), blobs)
        there = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
        assert there == {META, *(file.path for file in found)}
        assert all(matches(target, file) for file in found)
        # What another attempt builds is its own; the sweep removes what a crash left of it.
        others = {f".{target.name}.building"} if half_made else set()
        entries = {entry.name for entry in target.parent.iterdir()}
        # What stood in its place may be in somebody's view: the sweep takes it, too.
        replaced = {name for name in entries if name.endswith(".replaced")}
        assert entries == {target.name} | others | replaced
        assert len(replaced) == half_made
        assert set(splits) <= {entry.name for entry in target.iterdir()}


def matches(target: Path, file: Placed) -> bool:
    return PATH.validate_python(file.path) != "" and sha256((target / file.path).read_bytes()) == file.sha256
