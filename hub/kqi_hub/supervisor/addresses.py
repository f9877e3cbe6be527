"""Ports: the public one as configured, the inner ones chosen once and kept, because running servers know them."""

import socket
from dataclasses import replace

from kqi_hub.errors import ConfigError
from kqi_hub.runtime import Runtime
from kqi_hub.settings import Settings


def choose(settings: Settings) -> Runtime:
    """Return the addresses of this start. Raises ConfigError when the public port is taken."""
    if not _free(settings.server.bind, settings.server.port):
        raise ConfigError("port_in_use", port=settings.server.port, bind=settings.server.bind)
    try:
        kept = Runtime.load(settings)
    except ConfigError:
        kept = None
    if kept is not None and all(_free("127.0.0.1", port) for port in _ports(kept)):
        runtime = replace(kept, public_url=settings.url)
    else:
        hub, api, proxy = _three_free()
        runtime = Runtime(
            public_url=settings.url,
            hub_url=f"http://127.0.0.1:{hub}/hub",
            hub_port=hub,
            api_host="127.0.0.1",
            api_port=api,
            proxy_api_url=f"http://127.0.0.1:{proxy}",
        )
    runtime.save(settings)
    return runtime


def _ports(runtime: Runtime) -> tuple[int, int, int]:
    return runtime.hub_port, runtime.api_port, int(runtime.proxy_api_url.rsplit(":", 1)[1])


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _three_free() -> list[int]:
    probes = [socket.socket() for _ in range(3)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
