"""Where the platform's processes find each other, and the secrets that they share."""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Addresses, Settings
from kqi_spawner.workload import Secret

# Of an address of a deployment's own; the cluster's network policies say who may come.
_EVERYWHERE = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Addresses: of deployments as configured, else on loopback as the supervisor chose. `hub_url` ends with `/hub`."""

    public_url: str
    hub_url: str
    hub_port: int
    api_host: str
    api_port: int
    proxy_api_url: str
    hub_host: str = "127.0.0.1"
    api_url: str = ""
    forwarded_by: tuple[str, ...] = ("127.0.0.1",)
    oauth_client_id: str = "service-kqi"

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Return what is configured, else what the last start chose. Raises ConfigError if there was none."""
        if settings.addresses is not None:
            return cls._of(settings.addresses, settings.url)
        try:
            return cls(**json.loads(_path(settings).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError("not_started", path=settings.state) from error

    @classmethod
    def _of(cls, given: Addresses, public_url: str) -> Self:
        return cls(
            public_url=public_url,
            hub_url=f"{given.hub.rstrip('/')}/hub",
            hub_host=_EVERYWHERE,
            hub_port=_port("addresses.hub", given.hub),
            api_url=given.api.rstrip("/"),
            api_host=_EVERYWHERE,
            api_port=_port("addresses.api", given.api),
            proxy_api_url=given.proxy.rstrip("/"),
            forwarded_by=tuple(str(network) for network in given.forwarded_by),
        )

    def save(self, settings: Settings) -> None:
        path = _path(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2), "utf-8")
        os.replace(temporary, path)


def kept_secret(settings: Settings, name: str) -> Secret:
    """Return the secret of this name (`service-token`, `proxy-token`, `cookie-secret`, `crypt-key`, …).

    64 hexadecimal digits, drawn once and kept in a file of mode 0600.
    """
    path = settings.secrets / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{name}.{secrets.token_hex(4)}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_hex(32), "utf-8")
        # Not renamed: of two processes that draw it at once, both are to read the one that came first.
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
        temporary.unlink()
    return Secret(path.read_text("utf-8").strip())


def _port(key: str, address: str) -> int:
    try:
        found = urlsplit(address).port
    except ValueError:
        found = None
    if found is None:
        raise ConfigError("config_no_port", key=key, address=address)
    return found


def _path(settings: Settings) -> Path:
    return settings.state / "run" / "runtime.json"
