"""The texts in three languages."""

import ast
import re
import string
from pathlib import Path

import pytest

import kqi
from kqi.cli import COMMANDS
from kqi.schema import Phase
from kqi.texts import LANGUAGES, catalogue, language

FOLDER = Path(kqi.__file__).parent
KEY = re.compile(r"(cli|error|invalid)(\.[a-z0-9_]+)+")


def used() -> set[str]:
    """Return every key that the code names; those of phases are made from the phase."""
    found = {f"phase.{phase}" for phase in Phase}
    for path in [*FOLDER.glob("client/*.py"), *FOLDER.glob("cli/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value):
                found.add(node.value)
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_catalogue_has_each_key_that_is_used_and_no_other(code: str) -> None:
    assert set(catalogue(code)) == used()


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_catalogue_leaves_nothing_empty_and_keeps_the_placeholders(code: str) -> None:
    for key, text in catalogue(code).items():
        assert text.strip(), key
        assert placeholders(text) == placeholders(catalogue("en")[key]), key


def test_translations_are_in_their_language() -> None:
    for key, text in catalogue("ja").items():
        if not re.search("[ぁ-んァ-ヶ一-龠]", text):
            assert text == catalogue("en")[key], key
    kana = {key for key, text in catalogue("zh").items() if re.search("[ぁ-んァ-ヶ]", text)}
    assert not kana


def test_every_command_is_declared_once() -> None:
    words = [command.words for command in COMMANDS]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LC_ALL": "C", "KQI_LANG": "ja"}, "ja"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_follows_the_locale(environ: dict[str, str], code: str) -> None:
    assert language(environ) == code
