"""Files that are to be sent."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi.client.errors import BadFile
from kqi.client.local_files import LocalFile, Taking, plan, scan, tar, tar_size
from kqi.client.uploading import MOST_PARTS, part_size
from kqi.schema import BATCH_BYTES, BATCH_FILES, PART_SIZE, SMALL_FILE

SIZES = st.lists(
    st.one_of(st.integers(0, 3000), st.integers(SMALL_FILE - 2, SMALL_FILE + 2), st.just(SMALL_FILE)), max_size=60
)


@given(SIZES, st.integers(0, 5000))
def test_no_file_is_lost_and_no_batch_is_too_large(sizes: list[int], empty: int) -> None:
    sizes = sizes + [0] * empty
    files = [LocalFile(str(number), str(number), size) for number, size in enumerate(sizes)]
    divided = plan(files)
    assert sorted((file for batch in divided.batches for file in batch), key=lambda f: int(f.path)) == [
        file for file in files if file.size <= SMALL_FILE
    ]
    assert divided.large == [file for file in files if file.size > SMALL_FILE]
    for batch in divided.batches:
        assert 0 < len(batch) <= BATCH_FILES
        assert sum(tar_size(file.size) for file in batch) + 10_240 <= BATCH_BYTES


@given(st.integers(0, 2**50))
def test_parts_are_few_and_their_size_depends_on_nothing_but_the_file(size: int) -> None:
    assert part_size(size) >= PART_SIZE
    assert size <= part_size(size) * MOST_PARTS
    assert part_size(size) <= 2**40


def test_a_batch_is_a_tar_that_others_can_read(tmp_path: Path) -> None:
    contents = [b"", b"x", b"y" * 512, b"z" * 513]
    for number, content in enumerate(contents):
        (tmp_path / f"名前 {number}").write_bytes(content)
    files = scan([tmp_path])
    with tarfile.open(fileobj=io.BytesIO(tar(files)), mode="r:") as archive:
        assert [archive.extractfile(member).read() for member in archive] == contents  # type: ignore[union-attr]


def test_a_folder_gives_its_content_and_a_file_its_name(tmp_path: Path) -> None:
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "sub" / "b").write_text("b")
    (tmp_path / "set" / "a").write_text("a")
    (tmp_path / "c").write_text("c")
    assert [file.path for file in scan([tmp_path / "set", tmp_path / "c"])] == ["a", "sub/b", "c"]


def linked(tmp_path: Path) -> Path:
    """A folder with a link to a file, one to a folder, one to nothing, and two that lead round in a circle."""
    folder, other = tmp_path / "in", tmp_path / "other"
    for place in (folder, other):
        (place / "sub").mkdir(parents=True)
    (other / "sub" / "f").write_text("f")
    (folder / "to file").symlink_to(other / "sub" / "f")
    (folder / "to folder").symlink_to(other)
    (folder / "to nothing").symlink_to(tmp_path / "nothing")
    (folder / "sub" / "up").symlink_to(folder)
    (other / "back").symlink_to(folder)
    return folder


def test_links_to_folders_are_left_out_and_told(tmp_path: Path) -> None:
    folder, told = linked(tmp_path), list[Path]()
    assert [file.path for file in scan([folder], Taking(left_out=told.append))] == ["to file"]
    assert told == [folder / "to nothing", folder / "sub" / "up", folder / "to folder"]
    with pytest.warns(UserWarning, match="to folder"):
        scan([folder])


def test_links_to_folders_are_followed_on_demand_and_never_round_in_a_circle(tmp_path: Path) -> None:
    folder, told = linked(tmp_path), list[Path]()
    found = scan([folder], Taking(follow_links=True, left_out=told.append))
    assert [file.path for file in found] == ["to file", "to folder/sub/f"]
    assert told == [folder / "to nothing", folder / "sub" / "up", folder / "to folder" / "back"]


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").write_text(folder)
    with pytest.raises(BadFile, match="same"):
        scan([tmp_path / "x", tmp_path / "y"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="nothing-here"):
        scan([tmp_path / "nothing-here"])


def test_a_file_that_grew_since_it_was_found_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    files = scan([tmp_path])
    (tmp_path / "a").write_text("longer")
    with pytest.raises(BadFile):
        tar(files)
