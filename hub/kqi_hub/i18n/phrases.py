"""Texts within texts, put into words when it is known who reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from kqi.faults import explain


@runtime_checkable
class Phrase(Protocol):
    def said(self, language: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What pydantic found wrong with a value."""

    details: Mapping[str, Any]

    def said(self, language: str) -> str:
        return explain(self.details, language)
