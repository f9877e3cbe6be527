"""Which images there are, what each stands on, and what each is built from."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`needs`: build arguments that name other images of ours. `context`: what the build may copy from."""

    needs: Mapping[str, str] = field(default_factory=dict)
    context: Path | None = None  # None: the folder of the image


RECIPES: Mapping[str, Recipe] = {
    "base": Recipe(),
    "uv": Recipe(needs={"BASE": "base"}, context=ROOT / "requirements"),
    "hub": Recipe(needs={"BASE": "base", "UV": "uv"}, context=ROOT),
    "proxy": Recipe(needs={"BASE": "base", "UV": "uv"}, context=ROOT),
    "jupyterlab": Recipe(needs={"BASE": "base", "UV": "uv", "HUB": "hub"}),
    "vscode": Recipe(needs={"BASE": "jupyterlab", "UV": "uv"}, context=FOLDER),
    "runner": Recipe(needs={"BASE": "base", "UV": "uv", "HUB": "hub"}, context=FOLDER),
    "postgres": Recipe(needs={"BASE": "base"}),
}
# What others are made with; nobody runs it.
HELPERS = frozenset({"uv"})
ALL = tuple(name for name in RECIPES if name not in HELPERS)


def ordered(names: Iterable[str]) -> list[str]:
    """Return the names and all that they need, each after what it needs. Raises KeyError."""
    found: list[str] = []
    for name in names:
        for one in (*ordered(RECIPES[name].needs.values()), name):
            if one not in found:
                found.append(one)
    return found


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
