"""Names that become file names, process arguments and labels; paths that become places in the store."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kqi import schema
from kqi_hub.data.api import _check_path
from kqi_hub.errors import Invalid
from kqi_hub.runs.model import Kind, short_name
from kqi_hub.storage import beneath
from kqi_spawner.names import checked_name, workload_name
from kqi_spawner.workload import StorePath
from tests.unit.hub.runs import some_run

PATH: TypeAdapter[str] = TypeAdapter(schema.FilePath)
SHORT: TypeAdapter[str] = TypeAdapter(schema.ShortName)
LOWER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
anything = st.text(st.characters())  # with lone surrogates and control characters
awkward = st.text(st.sampled_from("aZ0-_./\\ \n\0\x1f\x7f\x85\u2028ä猫\ud800 "), max_size=12) | anything
label = st.from_regex(r"\A[a-z][a-z0-9-]{0,70}\Z") | st.integers(61, 66).map("a".__mul__)


def is_label(text: str) -> bool:
    return 0 < len(text) <= 63 and text[0] in LOWER and text[-1] != "-" and not set(text) - {*LOWER, *DIGITS, "-"}


@given(awkward | label | label.map(lambda text: text + "\n"))
def test_a_checked_name_is_a_dns_label_and_nothing_else(text: str) -> None:
    if is_label(text):
        assert checked_name(text) == text
        assert Path("/ledger", text).parent == Path("/ledger")
    else:
        with pytest.raises(ValueError, match="not a workload name"):
            checked_name(text)


run_key = st.tuples(st.sampled_from(list(Kind)), st.integers(1, 2**53 - 1), st.integers(1, 10**6))


@given(st.sets(run_key, max_size=20), st.integers(1, 30))
def test_no_two_attempts_of_any_runs_share_a_name(keys: set[tuple[Kind, int, int]], small: int) -> None:
    keys |= {(kind, small, attempt) for kind in Kind for attempt in (1, 2, small)}
    names = {replace(some_run(), kind=kind, number=number, attempt=attempt).workload for kind, number, attempt in keys}
    assert len(names) == len(keys)


@given(st.sampled_from(list(Kind)), st.integers(1, 2**53 - 1))
def test_a_workload_is_named_by_kind_and_number(kind: Kind, number: int) -> None:
    assert checked_name(workload_name(kind.value, number)) == f"{kind.value}-{number}"


@given(anything | st.text(st.sampled_from("ab -"), min_size=28, max_size=60), st.sampled_from(list(Kind)))
def test_a_short_name_follows_the_rule_of_the_guides_whatever_the_title(title: str, kind: Kind) -> None:
    name = short_name(title, kind)
    assert 1 <= len(name) <= 30 and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert SHORT.validate_python(name) == name
    assert short_name(name, kind) == name


@given(st.from_regex(r"\A[a-z0-9]+(-[a-z0-9]+)*\Z").filter(lambda text: len(text) <= 30))
def test_a_title_that_is_a_short_name_is_kept(name: str) -> None:
    assert short_name(name, Kind.TRAINING) == name
    assert short_name(f" {name.upper()}! ", Kind.TRAINING) == name


path = st.one_of(
    awkward,
    st.lists(st.sampled_from(["a", "b", "", ".", "..", "...", "ä" * 127, "ä" * 128, "x" * 255, "x" * 256])).map(
        "/".join
    ),
    st.integers(98, 102).map(lambda depth: "/".join("d" * depth)),
    st.integers(2000, 2100).map(lambda size: ("y" * 99 + "/") * 20 + "z" * (size - 2000)),
)


def is_path(text: str) -> bool:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    parts = text.split("/")
    return (
        size <= 2048
        and len(parts) <= 100
        and not any(part in {"", ".", ".."} or len(part.encode()) > 255 for part in parts)
        and not any(ord(char) < 32 or char in "\x7f\x85\u2028\u2029" for char in text)
    )


@example("a/./b")
@example("a/../b")
@example("a//b")
@example("/a")
@example("a/")
@given(path)
def test_a_path_that_is_taken_names_a_file_inside_and_can_be_made(text: str) -> None:
    if not is_path(text):
        with pytest.raises(ValidationError):
            PATH.validate_python(text)
        with pytest.raises(Invalid) as refused:
            _check_path(text)
        str(refused.value.params["path"]).encode()
        return
    assert PATH.validate_python(text) == text
    _check_path(text)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        file = Path(root, text)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content")
        assert file.resolve().is_relative_to(root)
        assert list(beneath.files(Path(root))) == [text]
        with beneath.open_file(Path(root), text) as opened:
            assert opened.read() == b"content"


@given(path | st.text(st.sampled_from("a./\0")))
def test_a_place_in_the_store_never_leads_out_of_it(text: str) -> None:
    root = Path("/the/store")
    try:
        place = StorePath(text)
    except ValueError:
        return
    assert "\0" not in text
    assert ".." not in (root / place.text).parts
    assert (root / place.text).is_relative_to(root) and root / place.text != root
