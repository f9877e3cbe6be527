"""Names of downloaded files."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi.client.errors import BadFile
from kqi.client.local_names import Naming, layout

NASTY = st.sampled_from(
    ["con", "CON.txt", "nul", "Com1", "lpt9.log", "aux.", "a:b", "C:", "c:\\x", "..\\up", "a.", "a ", "A", "a",
     "é", "e\u0301", "ß", "ss", "a~2", "con_", "a_", "|", "\x01", "con .txt", "¹", "com¹"]
)  # fmt: skip
PARTS = st.one_of(
    NASTY, st.text(st.characters(blacklist_characters="/\x00", blacklist_categories=["Cs"]), min_size=1, max_size=8)
)
PATHS = st.lists(PARTS.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=12, unique=True))
def test_on_windows_every_file_has_a_name_of_its_own_that_windows_can_hold(paths: list[str]) -> None:
    places = list(layout(paths, Naming.WINDOWS).values())
    assert len({unicodedata.normalize("NFC", str(place)).casefold() for place in places}) == len(paths)
    for place in places:
        seen = PureWindowsPath(str(place))
        assert not seen.is_absolute() and not seen.drive and ".." not in seen.parts
        assert len(seen.parts) == len(place.parts)
        for part in place.parts:
            assert part[-1] not in " ." and not set(part) & set('<>:"\\|?*\x00\x01')
            assert not PureWindowsPath(part).is_reserved()


@given(st.lists(PATHS, max_size=12, unique=True))
def test_on_linux_names_stay_as_they_are_unless_a_file_and_a_folder_share_one(paths: list[str]) -> None:
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for path, place in layout(paths, Naming.LINUX).items():
        if path not in folders and not any(str(parent) in paths for parent in PurePosixPath(path).parents):
            assert str(place) == path


@given(st.lists(PATHS, max_size=12, unique=True), st.sampled_from(Naming))
def test_no_file_takes_the_place_of_a_folder(paths: list[str], naming: Naming) -> None:
    places = set(layout(paths, naming).values())
    assert not any(parent in places for place in places for parent in place.parents)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "./x", "", "a/", "a\x00b"])
@pytest.mark.parametrize("naming", Naming)
def test_a_path_that_leads_outside_is_refused(path: str, naming: Naming) -> None:
    with pytest.raises(BadFile):
        layout([path], naming)
