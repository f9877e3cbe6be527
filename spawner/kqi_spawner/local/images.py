"""Images of the local engine: named Python environments.

An environment is a folder `NAME/` that holds either `bin/python`, or `environment.json` with
`{"python": "/x/bin/python"}`, which points at a Python elsewhere on the machine. Making and removing them is the hub's
work; here they are only read.

Which one an image reference means: its part after the last `/`. With a tag, `name-tag` comes first, then `name`; an
exact match comes before both. A digest is dropped. The empty reference means `default`. Nothing else is guessed.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from kqi_spawner.errors import UnknownImage

DEFAULT = "default"

_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Environment:
    """`folder` is the prefix of the Python (it holds `bin`); `python` may be a link to one outside of it."""

    name: str
    folder: Path
    python: Path
    layer: Path | None = None  # template of what a person adds to it; None: nothing can be added

    def own(self, home: str) -> str | None:
        """Return where a home keeps what its person added to this environment."""
        return f"{home}/.kqi-{self.name}-{self.layer.name.removeprefix('layer-')}" if self.layer else None

    @property
    def needed(self) -> tuple[Path, ...]:
        """The folders that a process needs to see to run it: the prefix, and that of the Python it was made from."""
        prefixes = [self.folder]
        home = _venv_home(self.folder)
        if home is not None:
            prefixes.append(home.parent)
        prefixes.append(self.python.resolve().parent.parent)
        return tuple(dict.fromkeys(prefixes))


def environments(folder: Path) -> list[Environment]:
    """Return every environment of `folder`, by name. A broken one is left out."""
    if not folder.is_dir():
        return []
    found = (_read(entry) for entry in sorted(folder.iterdir()) if _RULE.fullmatch(entry.name))
    return [environment for environment in found if environment is not None]


def resolve(image: str, folder: Path, *, fallback: str | None = None) -> Environment:
    """Return the environment that `image` means. Raises `UnknownImage`, which names those that exist."""
    known = {environment.name: environment for environment in environments(folder)}
    wanted = _candidates(image)
    for name in (*wanted, *([fallback] if fallback else [])):
        if name in known:
            return known[name]
    names = ", ".join(known) or "none yet"
    raise UnknownImage(f"no environment for image {image!r} (looked for {', '.join(wanted)}); there are: {names}")


def _candidates(image: str) -> list[str]:
    if not image.strip():
        return [DEFAULT]
    reference = image.strip().partition("@")[0]
    last = reference.rpartition("/")[2]
    name, _, tag = last.partition(":")
    wanted = [image, f"{name}-{tag}", name] if tag else [image, name]
    return list(dict.fromkeys(wanted))


def _read(entry: Path) -> Environment | None:
    pointer = entry / "environment.json"
    try:
        layer = None
        if pointer.is_file():
            told = json.loads(pointer.read_text(encoding="utf-8"))
            python = Path(str(told["python"]))
            layer = Path(told["layer"]) if told.get("layer") and Path(told["layer"]).is_dir() else None
        else:
            python = entry / "bin" / "python"
        if not python.is_absolute():
            python = python.absolute()
        if not python.exists():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Environment(entry.name, python.parent.parent, python, layer)


def _venv_home(prefix: Path) -> Path | None:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip():
            return Path(value.strip())
    return None
