"""What the supervisor chose at this start: addresses and where the secrets of the processes lie."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings
from kqi_spawner.workload import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """`hub_url` ends with `/hub`; the api listens on `api_host`:`api_port` of loopback."""

    public_url: str
    hub_url: str
    hub_port: int
    api_host: str
    api_port: int
    proxy_api_url: str
    service_token_file: str
    oauth_client_id: str = "service-kqi"

    @classmethod
    def load(cls, settings: Settings) -> Self:
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

    def service_token(self) -> Secret:
        return Secret(Path(self.service_token_file).read_text("utf-8").strip())


def _path(settings: Settings) -> Path:
    return settings.state / "run" / "runtime.json"
