"""Folders whose files are the platform's and, by their group, others' as well."""

import stat
from pathlib import Path

from kqi_hub.storage.store import Store, share_tree
from kqi_spawner.workload import StorePath


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def test_a_shared_folder_hands_its_group_down_also_one_that_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert mode(store.folder(StorePath("runs/1/output"))) == "755"
    assert mode(store.folder(StorePath("runs/1/output"), shared=True)) == "2775"
    assert mode(store.folder(StorePath("homes/hanako"), mode=0o700, shared=True)) == "2770"
    assert mode(store.folder(StorePath("homes/jiro"), mode=0o700)) == "700"


def test_in_a_shared_tree_the_group_may_what_the_owner_may_and_no_link_is_followed(tmp_path: Path) -> None:
    tree, outside = tmp_path / "git", tmp_path / "outside"
    (tree / "deep").mkdir(parents=True, mode=0o700)
    outside.write_text("x")
    outside.chmod(0o600)
    for name, given in (("code", 0o644), ("deep/program", 0o755), ("deep/fixed", 0o444)):
        (tree / name).write_text("x")
        (tree / name).chmod(given)
    (tree / "link").symlink_to(outside)
    (tree / "nowhere").symlink_to("gone")
    share_tree(tree)
    assert [mode(tree / name) for name in ("deep", "code", "deep/program", "deep/fixed")] == [
        "2770",
        "664",
        "775",
        "444",
    ]
    assert mode(outside) == "600"
