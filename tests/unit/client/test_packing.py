"""Packed code."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqi.client.errors import BadFile
from kqi.client.packing import pack

NAMES = st.text("abcあ-_", min_size=1, max_size=6)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=600), max_size=8)


def write(folder: Path, tree: dict[tuple[str, ...], bytes], when: int) -> dict[str, bytes]:
    written = {}
    for parts, content in tree.items():
        path = folder.joinpath(*parts)
        if path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (when, when))
        written["/".join(parts)] = content
    return written


def packed(folder: Path) -> bytes:
    out = io.BytesIO()
    pack(folder, out)
    return out.getvalue()


@settings(max_examples=50)
@given(TREES, st.randoms())
def test_the_same_content_gives_the_same_bytes_whatever_the_times_and_the_order(tree, random) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        written = write(Path(first), tree, 1_000_000)
        shuffled = list(written.items())
        random.shuffle(shuffled)
        write(Path(second), {tuple(name.split("/")): content for name, content in shuffled}, 2_000_000)
        archive = packed(Path(first))
        assert archive == packed(Path(second))
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            assert {m.name: opened.extractfile(m).read() for m in opened} == written  # type: ignore[union-attr]


def test_history_environments_and_caches_stay_behind(tmp_path: Path) -> None:
    for name in (
        ".git/config",
        ".venv/bin/python",
        "pkg/__pycache__/a.pyc",
        "node_modules/x/y",
        "pkg/a.py",
        "venvs/keep",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path))) as opened:
        assert opened.getnames() == ["pkg/a.py", "venvs/keep"]


def test_a_program_stays_one_that_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o700)
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path))) as opened:
        (member,) = opened.getmembers()
    assert (member.mode, member.uid, member.mtime) == (0o755, 0, 0)


def test_a_file_is_not_a_folder_of_code(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(BadFile):
        packed(tmp_path / "a")
