"""What the supervisor chose at this start, and the secrets that the platform's processes share."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Addresses of this start. `hub_url` ends with `/hub`; all but `public_url` are on loopback."""

    public_url: str
    hub_url: str
    hub_port: int
    api_host: str
    api_port: int
    proxy_api_url: str
    oauth_client_id: str = "service-kqi"

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Return what the last start chose. Raises ConfigError if there was none."""
        try:
            return cls(**json.loads(_path(settings).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError("not_started", path=settings.state) from error

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
        temporary.rename(path)
    return Secret(path.read_text("utf-8").strip())


def _path(settings: Settings) -> Path:
    return settings.state / "run" / "runtime.json"
