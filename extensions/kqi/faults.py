"""What is wrong with a value, in words for people: clients and server check the same models and say the same."""

from collections.abc import Mapping
from typing import Any

from kqi.texts import catalogue

# Type of an error, pydantic's or ours, → the sentence about it.
_SENTENCES = {
    "string_too_long": "invalid.too_long",
    "string_too_short": "invalid.too_short",
    "string_pattern_mismatch": "invalid.pattern",
    "too_long": "invalid.too_many",
    "too_short": "invalid.too_few",
    "greater_than": "invalid.greater_than",
    "greater_than_equal": "invalid.greater_than_equal",
    "less_than": "invalid.less_than",
    "less_than_equal": "invalid.less_than_equal",
    "int_type": "invalid.whole_number",
    "int_parsing": "invalid.whole_number",
    "int_parsing_size": "invalid.whole_number",
    "int_from_float": "invalid.whole_number",
    "float_type": "invalid.number",
    "float_parsing": "invalid.number",
    "finite_number": "invalid.number",
    "bool_type": "invalid.true_or_false",
    "bool_parsing": "invalid.true_or_false",
    "string_type": "invalid.text",
    "string_unicode": "invalid.text",
    "path_type": "invalid.text",
    "list_type": "invalid.list",
    "tuple_type": "invalid.list",
    "set_type": "invalid.list",
    "dict_type": "invalid.object",
    "mapping_type": "invalid.object",
    "model_type": "invalid.object",
    "model_attributes_type": "invalid.object",
    "datetime_type": "invalid.time",
    "datetime_parsing": "invalid.time",
    "datetime_from_date_parsing": "invalid.time",
    "datetime_object_invalid": "invalid.time",
    "timezone_aware": "invalid.time",
    "time_out_of_range": "invalid.time",
    "literal_error": "invalid.one_of",
    "enum": "invalid.one_of",
    "union_tag_invalid": "invalid.one_of",
    "missing": "invalid.missing",
    "union_tag_not_found": "invalid.missing",
    "extra_forbidden": "invalid.extra_forbidden",
    "json_invalid": "invalid.json_invalid",
    "blank": "invalid.blank",
    "control_character": "invalid.control_character",
    "several_lines": "invalid.several_lines",
    "not_relative": "invalid.not_relative",
    "too_deep": "invalid.too_deep",
    "part_too_long": "invalid.part_too_long",
    "path_too_long": "invalid.path_too_long",
    "tag_signs": "invalid.tag_signs",
    "holds_password": "invalid.holds_password",
    "not_postgresql": "invalid.not_postgresql",
    "password_in_clear": "invalid.password_in_clear",
    "capacity_of_unknown_cards": "invalid.capacity_of_unknown_cards",
    "root_without_namespace": "invalid.root_without_namespace",
}


def explain(fault: Mapping[str, Any], language: str) -> str:
    """Return the sentence about one of pydantic's error details."""
    texts = catalogue(language)
    template = texts[_SENTENCES.get(fault["type"], "invalid.other")]
    return template.format(**{name: _shown(value) for name, value in _named(fault.get("ctx", {})).items()})


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    tags = {"expected": given["expected_tags"]} if "expected_tags" in given else {}
    return {**given, **tags}


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace(" or ", ", ").replace("'", "")  # 'a', 'b' or 'c', as pydantic counts them up
