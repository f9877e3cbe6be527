"""Parts that every wire model uses: strict input, texts that survive a round trip, pages and problems."""

import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Item = TypeVar("Item")
# Programs that walk a tree recursively (Python's own included) fail at about a thousand.
_DEEPEST = 100
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SEVERAL_LINES = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]")


class Wire(BaseModel):
    """An answer; unknown fields of a newer server are ignored."""

    model_config = ConfigDict(frozen=True)


class Revealing(Wire):
    """An answer that shows a secret, this once."""


class Request(BaseModel):
    """A body that a client sends; unknown fields are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise PydanticCustomError("control_character", "holds a control character; remove it")
    return text


def _one_line(text: str) -> str:
    if _SEVERAL_LINES.search(text):
        raise PydanticCustomError("several_lines", "must be one line")
    return _printable(text)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return text


def _path(text: str) -> str:
    parts = text.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise PydanticCustomError("not_relative", "must be a relative path without empty parts, '.' or '..'")
    if len(parts) > _DEEPEST:
        raise PydanticCustomError("too_deep", "is more than {most} folders deep", {"most": _DEEPEST})
    size = len(text.encode())
    if size > 255 and any(len(part.encode()) > 255 for part in parts):
        raise PydanticCustomError("part_too_long", "has a part of more than 255 bytes")
    if size > 2048:
        raise PydanticCustomError("path_too_long", "is longer than 2,048 bytes")
    return text


def _tag(text: str) -> str:
    if "," in text or text[0] in "!=<>":
        raise PydanticCustomError("tag_signs", "must hold no comma and must not begin with ! = < >")
    return text


OneLine = Annotated[str, Field(max_length=255), AfterValidator(_one_line)]
Title = Annotated[OneLine, AfterValidator(_not_blank)]
Text = Annotated[str, Field(max_length=65_536), AfterValidator(_printable)]
FilePath = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_one_line), AfterValidator(_path)]
Tag = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(_one_line),
    AfterValidator(_not_blank),
    AfterValidator(_tag),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[int, Field(ge=1, le=2**53 - 1)]
ShortName = Annotated[str, Field(max_length=30, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
EnvironmentName = Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z_.\-][A-Za-z0-9_.\-]*$")]


class Page(Wire, Generic[Item]):
    """One page; `next` is the cursor of the one after it, None at the end."""

    items: list[Item]
    next: str | None = None


class Problem(Wire):
    """RFC 9457 problem details. `code` is stable in API, CLI and console; `detail` is in the caller's language."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    params: dict[str, Any] = {}
    errors: list["FieldError"] = []


class FieldError(Wire):
    """One field that was not understood: where it is in the request, and what is wrong with it."""

    field: str
    message: str


class Version(Wire):
    version: str
    api: str = "v1"


class Moment(Wire):
    """Something happened: a phase began, with a reason where there is one."""

    at: datetime
    phase: str
    reason: str | None = None
    message: str = ""
