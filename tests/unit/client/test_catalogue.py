"""The texts in three languages."""

import ast
import itertools
import re
import string
from pathlib import Path

import pytest
from typer.main import get_command

import kqi
from kqi.cli import COMMANDS
from kqi.schema import Phase
from kqi.texts import LANGUAGES, catalogue, language
from kqi_hub.__main__ import Commands, app
from kqi_hub.i18n.catalogue import catalogue as of_the_hub

FOLDER = Path(kqi.__file__).parent
KEY = re.compile(r"(cli|error|invalid)(\.[a-z0-9_]+)+")


def used() -> set[str]:
    """Return every key that the code names; those of phases are made from the phase."""
    found = {f"phase.{phase}" for phase in Phase}
    for path in [FOLDER / "faults.py", *FOLDER.glob("client/*.py"), *FOLDER.glob("cli/*.py")]:
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


def test_every_command_that_a_text_or_a_manual_names_is_one() -> None:
    """A sentence that says what to do next must not send people to a command that there is not."""
    of_hub = get_command(app)
    assert isinstance(of_hub, Commands)
    known = {
        "kqi": {command.words[:depth] for command in COMMANDS for depth in range(1, len(command.words) + 1)},
        "kqi-hub": {(name,) for name in of_hub.list_commands(None)},
    }
    texts = [text for code in LANGUAGES for text in [*catalogue(code).values(), *of_the_hub(code).values()]]
    texts += [path.read_text("utf-8") for path in FOLDER.parents[1].glob("*.md")]
    named = {found.groups() for text in texts for found in re.finditer(r"`(kqi|kqi-hub) ([a-z][^`]*)`", text)}
    for program, line in sorted(named):
        words = tuple(itertools.takewhile(re.compile("[a-z-]+").fullmatch, line.split()))
        known_words = known[program]
        longest = max((depth for depth in range(len(words) + 1) if words[:depth] in known_words), default=0)
        # What follows a whole command is an argument of it; what follows the name of a group must be a command.
        whole = program == "kqi-hub" or any(command.words == words[:longest] for command in COMMANDS)
        assert longest and (whole or longest == len(words)), line


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
