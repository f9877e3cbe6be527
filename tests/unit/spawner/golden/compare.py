"""Compares with a file of this folder; `KQI_GOLDEN=write` writes them anew, to be read before they are committed."""

import json
import os
from pathlib import Path
from typing import Any

from kqi_spawner.shell import INSIDE

_HERE = Path(__file__).parent
# Is the same in every workload, and has a file of its own already.
_INSIDE = INSIDE.read_text("utf-8").replace("$", "$$")


def same_as(name: str, found: Any) -> None:
    file = _HERE / f"{name}.json"
    text = json.dumps(_brief(found), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("KQI_GOLDEN") == "write":
        file.write_text(text)
    assert json.loads(text) == json.loads(file.read_text()), f"{file.name} says something else; KQI_GOLDEN=write"


def _brief(found: Any) -> Any:
    match found:
        case dict():
            return {key: _brief(value) for key, value in found.items()}
        case list() | tuple():
            return [_brief(value) for value in found]
        case str() if _INSIDE in found:
            return found.replace(_INSIDE, "(inside.sh)").splitlines()
        case _:
            return found
