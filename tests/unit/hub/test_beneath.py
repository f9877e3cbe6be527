"""Looking into folders that other people's programs write to: never outside, and never an error of its own."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kqi_hub.errors import Conflict, NotFound
from kqi_hub.storage import beneath
from kqi_hub.storage.store import Store
from kqi_spawner.workload import StorePath

INSIDE, OUTSIDE = b"inside", b"outside"
names = ["a", "b", "c", "ä猫", " ", "-rf", "*", "\\", "x" * 255]
links = ["..", "../secret", "../../secret", "/etc/passwd", "a", "a/b", ".", "nowhere", "self", "../root/a"]
kinds = st.one_of(
    st.just("file"),
    st.just("folder"),
    st.just("pipe"),
    st.sampled_from([text for text in links if text]).map("->".__add__),
)
trees = st.lists(st.tuples(st.lists(st.sampled_from(names), min_size=1, max_size=3), kinds), max_size=10)
awkward = st.one_of(
    st.lists(st.sampled_from([*names, "", ".", "..", "secret", "x" * 256, "\0", "\ud800", "\udcff"]), max_size=5).map(
        "/".join
    ),
    st.text(st.characters()),
    st.sampled_from(["/etc/passwd", "//", "a/" * 3000, "a/../../secret", "../secret"]),
)
Tree = list[tuple[list[str], str]]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tree, str]:
    """A tree and a path to ask for: mostly one that is in the tree, goes through it, or just beside it."""
    tree = draw(trees)
    if not tree or draw(st.integers(0, 3)) == 0:
        return tree, draw(awkward)
    parts = draw(st.sampled_from(tree))[0]
    return tree, "/".join([*parts, *draw(st.lists(st.sampled_from(["secret", "a", "b", "root"]), max_size=1))])


@contextmanager
def made(tree: Tree) -> Iterator[Path]:
    """Yield a folder with these things in it and a secret beside it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder, "root")
        root.mkdir()
        Path(folder, "secret").write_bytes(OUTSIDE)
        for parts, kind in tree:
            place = root.joinpath(*parts)
            real = os.path.realpath(place.parent)
            with suppress(OSError):
                if Path(real) != place.parent:
                    continue  # a link is in the way
                place.parent.mkdir(parents=True, exist_ok=True)
                if kind == "file":
                    with place.open("xb") as file:
                        file.write(INSIDE)
                elif kind == "folder":
                    place.mkdir()
                elif kind == "pipe":
                    os.mkfifo(place)
                else:
                    place.symlink_to(kind.removeprefix("->"))
        yield root


def plain(root: Path, path: str) -> Path | None:
    """Return the place that `path` names by folders alone, None if it names none."""
    parts = [part for part in path.split("/") if part]
    if {".", ".."} & set(parts) or "\0" in path or "\ud800" in path:
        return None
    place = root
    for part in parts:
        if place.is_symlink() or not place.is_dir() or len(os.fsencode(part)) > 255:
            return None
        place /= part
    return None if place.is_symlink() else place


@example(([(["a"], "->..")], "a/secret"))
@given(cases())
def test_only_regular_files_inside_are_opened_and_links_never(case: tuple[Tree, str]) -> None:
    tree, path = case
    with made(tree) as root:
        place = plain(root, path)
        if place is not None and place != root and place.is_file():
            with beneath.open_file(root, path) as file:
                assert file.read() == INSIDE
        else:
            with pytest.raises(NotFound):
                beneath.open_file(root, path)


@example(([(["a"], "->..")], "a"))
@given(cases())
def test_a_listing_shows_what_is_there_and_follows_nothing(case: tuple[Tree, str]) -> None:
    tree, path = case
    with made(tree) as root:
        place = plain(root, path)
        if place is None or not place.is_dir():
            with pytest.raises(NotFound):
                beneath.entries(root, path)
            return
        found = beneath.entries(root, path)
        there = [entry for entry in place.iterdir() if not entry.is_symlink() and (entry.is_dir() or entry.is_file())]
        assert [entry.name for entry in found] == sorted((entry.name for entry in there), key=str.encode)
        assert {entry.name for entry in found if entry.folder} == {entry.name for entry in there if entry.is_dir()}
        assert all(entry.size == len(INSIDE) for entry in found if not entry.folder)
        base = str(place.relative_to(root)) if place != root else ""
        walked = {str(file.relative_to(root)) for file in place.rglob("*") if file.is_file() and not file.is_symlink()}
        assert set(beneath.files(root, base)) == walked


@given(cases(), st.none() | st.sampled_from([*names, "x" * 256]), st.booleans())
def test_a_file_is_replaced_whole_or_not_at_all(case: tuple[Tree, str], other: str | None, broken: bool) -> None:
    tree, name = case[0], other or case[1]
    with made(tree) as root:
        before = {entry: entry.lstat() for entry in root.iterdir()}
        done = False
        with suppress(NotFound, Conflict, ZeroDivisionError):
            with beneath.replacing(root, name) as file:
                file.write(b"new")
                if broken:
                    raise ZeroDivisionError
            done = True
        if done:
            place = root / name
            assert not broken and place.parent == root
            assert not place.is_symlink() and place.read_bytes() == b"new"
            before.pop(place, None)
            place.unlink()
        assert {entry: entry.lstat() for entry in root.iterdir()} == before
        assert (root.parent / "secret").read_bytes() == OUTSIDE


@given(cases())
def test_a_removal_takes_the_link_and_leaves_what_it_names(case: tuple[Tree, str]) -> None:
    tree, name = case
    with made(tree) as root:
        before = {entry.name for entry in root.iterdir()}
        with suppress(NotFound):
            beneath.remove_file(root, name)
            before.remove(name)
        assert {entry.name for entry in root.iterdir()} == before
        assert (root.parent / "secret").read_bytes() == OUTSIDE


def test_a_folder_is_listed_and_walked_while_a_program_changes_it(tmp_path: Path) -> None:
    over = threading.Event()

    def program() -> None:
        while not over.is_set():
            for number in range(30):
                (tmp_path / f"folder{number}" / "inner").mkdir(parents=True)
                (tmp_path / f"file{number}").touch()
                (tmp_path / f"folder{number}" / "inner" / "file").touch()
            for number in range(30):
                (tmp_path / f"file{number}").unlink()
                (tmp_path / f"folder{number}" / "inner" / "file").unlink()
                (tmp_path / f"folder{number}" / "inner").rmdir()
                (tmp_path / f"folder{number}").rmdir()

    working = threading.Thread(target=program)
    working.start()
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert all(entry.name[:4] in {"file", "fold"} for entry in beneath.entries(tmp_path, ""))
            assert all("file" in path for path in beneath.files(tmp_path))
    finally:
        over.set()
        working.join()


def test_folders_as_deep_as_a_program_can_make_them_are_walked_and_removed() -> None:
    base = tempfile.mkdtemp(dir="/dev/shm")
    root = Path(base, "output")
    root.mkdir()
    try:
        descriptor = os.open(root, os.O_RDONLY)
        for _ in range(1_200):
            os.mkdir("d", dir_fd=descriptor)
            inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
        (root / "d" / "d" / "file").touch()
        assert list(beneath.files(root)) == ["d/d/file"]
        Store(Path(base)).remove(StorePath("output"))
        assert not root.exists()
    finally:
        subprocess.run(["rm", "-rf", base], check=True)


def test_a_folder_is_removed_whatever_its_modes_and_no_link_is_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    (tmp_path / "runs" / "1" / "a" / "b").mkdir(parents=True)
    for link in ("runs/1/link", "runs/1/a/link", "runs/1/a/b/link"):
        (tmp_path / link).symlink_to(kept)
    for folder in ("a/b", "a", "."):
        (tmp_path / "runs" / "1" / folder).chmod(0o000)
    store = Store(tmp_path)
    for _ in range(2):
        store.remove(StorePath("runs/1"))
        assert not (tmp_path / "runs" / "1").exists()
    assert kept.stat().st_mode & 0o777 == 0o500
