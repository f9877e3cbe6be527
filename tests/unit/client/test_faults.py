"""What is wrong with a value is said in the reader's language, by clients and server with the same words."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from kqi import schema
from kqi.faults import explain
from kqi.schema.base import FilePath, OneLine, Tag, Title
from kqi_hub.errors import ConfigError
from kqi_hub.i18n import text
from kqi_hub.settings import load

VALUES: dict[str, tuple[Any, object]] = {
    "control_character": (OneLine, "a\x00"),
    "several_lines": (OneLine, "a\nb"),
    "blank": (Title, " "),
    "not_relative": (FilePath, "../a"),
    "too_deep": (FilePath, "a/" * 200 + "a"),
    "part_too_long": (FilePath, "a" * 300),
    "path_too_long": (FilePath, "猫" * 80 + ("/" + "猫" * 80) * 9),
    "tag_signs": (Tag, "!a"),
    "too_long": (Title, "a" * 300),
    "too_short": (Tag, ""),
    "pattern": (schema.base.Sha256, "?"),
    "whole_number": (int, "1.5"),
    "number": (float, "a"),
    "true_or_false": (bool, "perhaps"),
    "text": (str, 1),
    "list": (list[str], "a"),
    "object": (dict[str, str], 1),
    "time": (datetime, "soon"),
    "one_of": (schema.StopMode, "softly"),
    "missing": (schema.CreateTraining, {}),
    "extra_forbidden": (schema.StopRun, {"mode": "kill", "colour": "red"}),
    "greater_than": (schema.AskedResources, {"cpu": 0}),
    "greater_than_equal": (schema.AskedResources, {"gpu": -1}),
    "less_than_equal": (schema.AskedResources, {"gpu": 5000}),
    "too_many": (schema.CreateTraining, {"command": "true", "parents": [1] * 101}),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_fault_is_said_in_three_languages(name: str) -> None:
    of, value = VALUES[name]
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(of).validate_python(value)
    said = {language: explain(caught.value.errors()[0], language) for language in ("en", "ja", "zh")}
    assert len(set(said.values())) == 3
    for sentence in said.values():
        assert "{" not in sentence and "'" not in sentence.replace("'.'", "").replace("'..'", ""), sentence
    others = {language: explain({"type": "other"}, language) for language in said}
    assert said != others, name


def test_a_value_of_the_configuration_is_refused_in_the_language_of_the_terminal(tmp_path: Path) -> None:
    for environ, words in {
        ("KQI_HUB__SERVER__PORT", "many"): ("whole number", "整数", "整数"),
        ("KQI_HUB__ENGINE__KIND", "cloud"): ("local, kubernetes", "local, kubernetes", "local, kubernetes"),
        ("KQI_HUB__DATABASE__URL", "mysql://a@b/c"): ("must be postgresql", "の形にしてください", "的形式"),
        ("KQI_HUB__DATABASE__SSLMODE", "verify-ca"): ("needs it", "必要です", "需要它"),
    }.items():
        with pytest.raises(ConfigError) as caught:
            load(None, {"KQI_HUB__STATE": str(tmp_path), environ[0]: environ[1]})
        for language, word in zip(("en", "ja", "zh"), words, strict=True):
            said = text(caught.value.code, language, caught.value.params)
            assert word in said and "Fault" not in said, said
