"""A thin environment of a person's own over a shared one, kept as a template that every home gets a copy of.

What `pip install` puts there comes first; what the shared one has is found and not installed again. It is what the venv
module would make, without starting a Python for it.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# `venv`: its own packages are added; else Python itself adds those of the installation.
_ASK = (
    "import importlib.util as u, json, sys, sysconfig as s; print(json.dumps({"
    "'home': sys.base_prefix + '/bin', 'version': '%d.%d' % sys.version_info[:2], 'packages': s.get_path('purelib'), "
    "'venv': sys.prefix != sys.base_prefix, "
    "'pip': bool(u.find_spec('pip')), 'kernel': bool(u.find_spec('ipykernel'))}))"
)
_PIP = '#!/bin/sh\nexec "$(dirname -- "$0")/python" -m pip "$@"\n'
# By PATH, so that it is the Python of whose home this lies in.
_KERNEL = {
    "argv": ["/usr/bin/env", "python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True},
}
_TIMEOUT_S = 60


def template(folder: Path, python: Path, as_account: Sequence[str]) -> Path | None:
    """Return the template below `folder`, made if missing; None where `python` has no pip. Run by `as_account`."""
    found = _asked(python, as_account)
    if found is None or not found["pip"]:
        return None
    digest = hashlib.sha256(json.dumps([str(python), found, _KERNEL], sort_keys=True).encode()).hexdigest()[:8]
    target = folder / f"layer-{digest}"
    if not target.exists():
        building = folder / f".layer-{digest}"
        shutil.rmtree(building, ignore_errors=True)
        _write(building, python, found)
        os.replace(building, target)
    return target


def _asked(python: Path, as_account: Sequence[str]) -> dict[str, Any] | None:
    words = [*as_account, str(python), "-I", "-c", _ASK]
    try:
        done = subprocess.run(words, capture_output=True, timeout=_TIMEOUT_S, cwd="/", check=True, text=True)
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer


def _write(folder: Path, python: Path, found: dict[str, Any]) -> None:
    packages = folder / "lib" / f"python{found['version']}" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(python)
    for name in ("python3", f"python{found['version']}"):
        (folder / "bin" / name).symlink_to("python")
    for name in ("pip", "pip3"):
        (folder / "bin" / name).write_text(_PIP)
        (folder / "bin" / name).chmod(0o755)
    shared = "false" if found["venv"] else "true"
    (folder / "pyvenv.cfg").write_text(f"home = {found['home']}\ninclude-system-site-packages = {shared}\n", "utf-8")
    if found["venv"]:
        (packages / "_kqi.pth").write_text(f"import site; site.addsitedir({found['packages']!r})\n", "utf-8")
    if found["kernel"]:
        kernel = folder / "share" / "jupyter" / "kernels" / "python3"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps(_KERNEL, indent=1), "utf-8")
