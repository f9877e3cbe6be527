"""Ports: the public one as configured, the inner ones chosen once and kept, because running servers know them."""

import errno
import secrets
import socket

from kqi_hub.errors import ConfigError
from kqi_hub.runtime import Runtime
from kqi_hub.settings import Settings


def choose(settings: Settings) -> Runtime:
    """Return the addresses of this start. Raises ConfigError when the public port is taken."""
    check_public(settings)
    try:
        kept = Runtime.load(settings)
        before = [kept.hub_port, kept.api_port, int(kept.proxy_api_url.rsplit(":", 1)[1])]
    except ConfigError:
        before = [0, 0, 0]
    taken = {settings.server.port}
    ports = []
    for port in before:
        # Each by itself: somebody on the proxy's port is no reason for servers to lose the hub.
        ports.append(port if port and port not in taken and _free("127.0.0.1", port) else _drawn(taken))
        taken.add(ports[-1])
    hub, api, proxy = ports
    runtime = Runtime(
        public_url=settings.url,
        hub_url=f"http://127.0.0.1:{hub}/hub",
        hub_port=hub,
        api_host="127.0.0.1",
        api_port=api,
        api_url=f"http://127.0.0.1:{api}",
        proxy_api_url=f"http://127.0.0.1:{proxy}",
    )
    runtime.save(settings)
    return runtime


def check_public(settings: Settings) -> None:
    """Raises ConfigError when the address for people cannot be had, and says why."""
    server = settings.server
    try:
        _bind(server.bind, server.port)
    except PermissionError as error:
        raise ConfigError("port_not_allowed", port=server.port) from error
    except OSError as error:
        code = "port_in_use" if error.errno == errno.EADDRINUSE else "address_not_here"
        raise ConfigError(code, port=server.port, bind=server.bind) from error


def _free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _drawn(taken: set[int]) -> int:
    """Return a free port below those that the system hands out: an outgoing connection must not take it meanwhile."""
    for _ in range(200):
        port = 10_000 + secrets.randbelow(22_000)
        if port not in taken and _free("127.0.0.1", port):
            return port
    raise ConfigError("port_in_use", port="10000-32000", bind="127.0.0.1")
