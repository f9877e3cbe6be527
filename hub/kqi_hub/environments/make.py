"""Make, list and remove named Python environments."""

import asyncio
import hashlib
import json
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import uv

from kqi_hub.errors import Invalid
from kqi_hub.settings import Settings, installer_environment

DEFAULT = "default"
DEFAULT_REQUIREMENTS = Path(__file__).parent / "default.txt"
_BUILT = ".built"


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    python: str


def listed(settings: Settings) -> list[Named]:
    found = []
    for folder in sorted(settings.environments.glob("*/environment.json")):
        found.append(Named(folder.parent.name, json.loads(folder.read_text("utf-8"))["python"]))
    return found


def ready(settings: Settings) -> bool:
    """Return whether the default environment is the one of this version."""
    python = _built(settings, DEFAULT_REQUIREMENTS) / "bin" / "python"
    return python.exists() and any(named.name == DEFAULT and named.python == str(python) for named in listed(settings))


async def make(settings: Settings, name: str, requirements: Path) -> Path:
    """Build an environment from a requirements file, beside the ones in use, and let `name` point to it."""
    _check_name(name)
    target = _built(settings, requirements)
    if not (target / "bin" / "python").exists():
        base = await asyncio.to_thread(readable_python, settings)
        building = target.with_name(f".{target.name}.building")
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
        building.parent.mkdir(parents=True, exist_ok=True)
        try:
            await _uv(settings, "venv", "--quiet", "--relocatable", "--python", str(base), str(building))
            hashed = ["--require-hashes"] if requirements == DEFAULT_REQUIREMENTS else []
            python = str(building / "bin" / "python")
            await _uv(settings, "pip", "install", "--quiet", *hashed, "--python", python, "-r", str(requirements))
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        os.replace(building, target)
    point(settings, name, target / "bin" / "python")
    return target


def point(settings: Settings, name: str, python: Path) -> None:
    """Let an environment's name stand for this interpreter, from the next start of a run on."""
    _check_name(name)
    if not os.access(python, os.X_OK) or not python.is_file():
        raise Invalid("image_python_missing", path=python)
    folder = settings.environments / name
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".environment.json"
    temporary.write_text(json.dumps({"python": str(python)}), "utf-8")
    os.replace(temporary, folder / "environment.json")


def remove(settings: Settings, name: str) -> None:
    """Forget a name; what was built for it goes when no other name uses it."""
    _check_name(name)
    folder = settings.environments / name
    if not folder.exists():
        raise Invalid("image_unknown", name=name)
    shutil.rmtree(folder)
    used = {Path(named.python).parents[1] for named in listed(settings)}
    for built in (settings.environments / _BUILT).glob("*"):
        if built not in used and not built.name.startswith("."):
            shutil.rmtree(built)


def readable_python(settings: Settings) -> Path:
    """Return an interpreter that other accounts can run: ours, one of the machine's, or a copy of ours."""
    ours = Path(sys.base_prefix)
    own = ours / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if _passable(own):
        return own
    for version in (14, 13, 12, 11):
        for folder in ("/usr/local/bin", "/usr/bin"):
            candidate = Path(folder) / f"python3.{version}"
            if candidate.exists() and _passable(candidate.resolve()):
                return candidate
    copy = settings.state / "python" / ours.name
    if not copy.exists():
        building = copy.with_name(f".{copy.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(ours, building, symlinks=True, ignore=shutil.ignore_patterns("test", "tests", "__pycache__"))
        os.replace(building, copy)
    return copy / "bin" / own.name


def _passable(path: Path) -> bool:
    """Return whether everybody may enter every folder on the way, as an unprivileged account must."""
    return path.exists() and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _built(settings: Settings, requirements: Path) -> Path:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    return settings.environments / _BUILT / digest


def _check_name(name: str) -> None:
    if not name or name.startswith((".", "-")) or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise Invalid("image_name_not_valid", name=name[:100])


async def _uv(settings: Settings, *arguments: str) -> None:
    cache = settings.state / "cache" / "uv"
    process = await asyncio.create_subprocess_exec(
        uv.find_uv_bin(),
        *arguments,
        env={
            **installer_environment(),
            "UV_CACHE_DIR": str(cache),
            "UV_LINK_MODE": "copy",
            "UV_PYTHON_DOWNLOADS": "never",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        umask=0o022,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise Invalid("image_not_built", message=output.decode("utf-8", "replace").strip()[-1500:])
