"""Make, list and remove named Python environments."""

import asyncio
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from kqi_hub.environments import client_wheel, layer
from kqi_hub.environments.installer import installed
from kqi_hub.errors import Invalid
from kqi_hub.settings import Settings, installer_environment
from kqi_spawner.errors import UnknownImage
from kqi_spawner.local.accounts import ensure_account
from kqi_spawner.local.images import resolve

DEFAULT = "default"
DEFAULT_REQUIREMENTS = Path(__file__).parent / "default.txt"
_BUILT = ".built"
# `etc/jupyter` of an environment that JupyterLab runs in, here and in images: it says its version to programs and
# neither asks for nor fetches anything from outside, until a person sets it otherwise.
NOTEBOOK = Path(__file__).parent / "notebook"


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    python: str


def listed(settings: Settings) -> list[Named]:
    found = []
    for folder in sorted(settings.environments.glob("*/environment.json")):
        found.append(Named(folder.parent.name, json.loads(folder.read_text("utf-8"))["python"]))
    return found


def means(settings: Settings, image: str, name: str) -> bool:
    """Return whether runs that ask for `image` get the environment of this name."""
    try:
        return resolve(image, settings.environments, fallback=settings.engine.fallback_image).name == name
    except UnknownImage:
        return False


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
            python = str(building / "bin" / "python")
            into = ("pip", "install", "--quiet", "--python", python)
            if requirements == DEFAULT_REQUIREMENTS:
                await _uv(settings, *into, "--require-hashes", "--no-deps", "-r", str(requirements))
                await _add_client(settings, building, into)
            else:
                await _uv(settings, *into, "pip", "-r", str(requirements))
            shutil.copytree(NOTEBOOK, building / "etc" / "jupyter", dirs_exist_ok=True)
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
    own = layer.template(folder, python, _as_account(settings))
    temporary = folder / ".environment.json"
    temporary.write_text(json.dumps({"python": str(python), "layer": str(own) if own else None}), "utf-8")
    os.replace(temporary, folder / "environment.json")
    if name == DEFAULT and (client := python.with_name("kqi")).exists():
        _offer(settings.tools / "bin" / "kqi", client)


def remove(settings: Settings, name: str) -> None:
    """Forget a name; what was built for it stays for work that uses it, until `clear`."""
    _check_name(name)
    folder = settings.environments / name
    if not folder.exists():
        raise Invalid("image_unknown", name=name)
    shutil.rmtree(folder)


def clear(settings: Settings) -> None:
    """Remove what was built and has no name any more. Nothing may be at work: it could use what it was started with."""
    used = {Path(named.python).parents[1] for named in listed(settings)}
    for built in (settings.environments / _BUILT).glob("*"):
        if built not in used and not built.name.startswith("."):
            shutil.rmtree(built)


def readable_python(settings: Settings, folders: Sequence[str] = ("/usr/local/bin", "/usr/bin")) -> Path:
    """Return an interpreter that other accounts can run: ours, one of the machine's `folders`, or a copy of ours."""
    ours = Path(sys.base_prefix)
    own = ours / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = [Path(folder) / f"python3.{version}" for version in (14, 13, 12, 11) for folder in folders]
    for candidate in (own, *others):
        if _passable(candidate.resolve()) and _works(settings, candidate):
            return candidate
    copy = settings.state / "python" / ours.name
    if not copy.exists():
        building = copy.with_name(f".{copy.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(ours, building, symlinks=True, ignore=shutil.ignore_patterns("test", "tests", "__pycache__"))
        os.replace(building, copy)
    if not _works(settings, copy / "bin" / own.name):
        # Such as one that looks for its library where only root may go.
        shutil.rmtree(copy)
        raise Invalid("python_not_usable", path=ours)
    return copy / "bin" / own.name


async def _add_client(settings: Settings, building: Path, into: Sequence[str]) -> None:
    """Add the command line and SDK of this version, for use from inside of runs."""
    wheel = building / client_wheel.NAME
    wheel.write_bytes(client_wheel.wheel())
    await _uv(settings, *into, "--no-deps", str(wheel))
    wheel.unlink()


def _offer(place: Path, program: Path) -> None:
    """Make `place` a link to the program, in place of an older one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(program)
    os.replace(temporary, place)


def _as_account(settings: Settings) -> list[str]:
    """Return the words that run a program as the account of the workloads."""
    if os.geteuid() != 0:
        return []
    uid, gid = ensure_account(settings.engine.run_as)
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


def _works(settings: Settings, python: Path) -> bool:
    """Return whether the account of the workloads can run it, by doing so."""
    trial = [*_as_account(settings), str(python), "-I", "-c", "import ctypes, hashlib, sqlite3, ssl"]
    try:
        return subprocess.run(trial, capture_output=True, timeout=30, cwd="/", check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _passable(path: Path) -> bool:
    """Return whether everybody may enter every folder on the way, as an unprivileged account must."""
    return path.exists() and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _built(settings: Settings, requirements: Path) -> Path:
    made_of = b"".join(file.read_bytes() for file in (requirements, *sorted(NOTEBOOK.rglob("*.*"))))
    if requirements == DEFAULT_REQUIREMENTS:
        made_of += client_wheel.wheel()
    return settings.environments / _BUILT / hashlib.sha256(made_of).hexdigest()[:16]


def _check_name(name: str) -> None:
    if not name or name.startswith((".", "-")) or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise Invalid("image_name_not_valid", name=name[:100])


async def _uv(settings: Settings, *arguments: str) -> None:
    environment = {
        **installer_environment(),
        "UV_CACHE_DIR": str(settings.state / "cache" / "uv"),
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    said = await installed([uv.find_uv_bin(), *arguments], environment)
    if said is not None:
        raise Invalid("image_not_built", message=said[-1500:])
