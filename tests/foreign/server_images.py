"""Images with a Python, a hub and a server in it, from what is installed on this machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import images

_LEFT_OUT = ("site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "__pycache__", "config-*")
_NOT_NEEDED = re.compile(r"kubernetes|pytest|pip|uv|_virtualenv|pydoc_data")
# The hubs of these tests have nobody to lead anywhere: their servers are asked directly.
_NO_PROXY = """
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {}
"""
_HUB = """#!/bin/sh
export PYTHONPATH=/site HOME=/tmp
cd /tmp
exec python3 -m jupyterhub "$@" --JupyterHub.proxy_class=no_proxy.NoProxy --JupyterHub.authenticator_class=null
"""
# A server without a front end shows a page at its root, where one with a front end leads there, as the suite expects.
_SERVER = """#!/bin/sh
export PYTHONPATH=/site HOME=/tmp JUPYTERHUB_DEFAULT_URL="${JUPYTERHUB_DEFAULT_URL:-/tree}"
cd /tmp
exec python3 -m jupyterhub.singleuser "$@"
"""


def write(site: Path, folder: Path) -> list[Path]:
    """Write an image of a hub and one of a server; `site` is the site-packages they use."""
    texts = {"jupyterhub": _HUB, "jupyterhub-singleuser": _SERVER, "no_proxy.py": _NO_PROXY}
    for name, text in texts.items():
        (folder / name).write_text(text)
    base = Path(sys.base_prefix)
    python = base / "bin" / f"python3.{sys.version_info.minor}"
    files = {str(python): python, "bin/busybox": Path("/bin/busybox"), "site/no_proxy.py": folder / "no_proxy.py"}
    files |= {f"usr/bin/{name}": folder / name for name in ("jupyterhub", "jupyterhub-singleuser")}
    library = base / "lib" / f"python3.{sys.version_info.minor}"
    for source, target in ((library, str(library)), (site, "/site")):
        staged = _staged(source, folder / target.replace("/", "-"))
        files |= {f"{target}/{path.relative_to(staged)}": path for path in staged.rglob("*") if path.is_file()}
    programs = [python, *(path for path in files.values() if ".so" in path.name)]
    files |= {str(path): path for path in _libraries(programs)}
    names = ("sh", "ls", "cat", "sleep", "env", "ps", "head")
    links = {"usr/bin/python3": str(python), **{f"bin/{name}": "busybox" for name in names}}
    return [
        images.write(
            images.Image(reference=f"localhost/foreign-{name}:1", files=files, links=links, user=user, entrypoint=()),
            folder / f"{name}.tar",
        )
        for name, user in (("hub", "0:0"), ("server", "1000:100"))
    ]


def _staged(source: Path, folder: Path) -> Path:
    """Copy what is needed and compile it, whatever its times: in an image it would be compiled at every start."""
    top = {path.name for path in source.iterdir() if _NOT_NEEDED.match(path.name)}
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT, *top))
    mode = ("--invalidation-mode", "unchecked-hash")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-j", "2", *mode, folder], stdout=subprocess.DEVNULL)
    return folder


def _libraries(programs: list[Path]) -> set[Path]:
    """Return what the loader would load for them."""
    found: set[Path] = set()
    for start in range(0, len(programs), 50):
        words = ["ldd", *map(str, programs[start : start + 50])]
        told = subprocess.run(words, capture_output=True, text=True).stdout
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", told)}
    return {path for path in found if path.exists()}
