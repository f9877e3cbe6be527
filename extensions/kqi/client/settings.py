"""Where the server is and who asks: arguments, then the environment, then the files of this person."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

import kqi
from kqi.client.errors import BadSettings, NoServer
from kqi.texts import say

Model = TypeVar("Model", bound=BaseModel)


class Secret:
    """A text that does not show itself in logs, tracebacks and representations."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    server: str  # without a slash at its end
    token: Secret | None = None
    tenant: str | None = None
    ca_file: str | None = None

    @property
    def agent(self) -> str:
        return f"kqi/{kqi.__version__} ({platform.system()}; Python {platform.python_version()})"


class Stored(BaseModel):
    """The configuration file; unknown keys of a newer version are left alone."""

    server: str | None = None
    tenant: str | None = None
    ca_file: str | None = None


class StoredToken(BaseModel):
    """The token file: a token is sent only to the server that gave it."""

    server: str
    token: str


def find(given: Settings | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings to use. Raises NoServer when none names a server."""
    environ = os.environ if environ is None else environ
    given = given or Settings(server="")
    stored = _read(folder(environ) / "config.json", Stored) or Stored()
    server = given.server or environ.get("KQI_SERVER") or stored.server
    if not server:
        raise NoServer("error.no_server")
    server = tidy(server)
    return Settings(
        server=server,
        token=given.token or _token(server, environ),
        tenant=given.tenant or environ.get("KQI_TENANT") or stored.tenant,
        ca_file=given.ca_file or environ.get("KQI_CA_FILE") or stored.ca_file,
    )


def tidy(server: str) -> str:
    """Return the address below which hub and services lie, from what people copy out of a browser or a run."""
    server = server.strip()
    if "://" not in server:
        local = re.match(r"(localhost|127\.|\[::1\])", server)
        server = f"{'http' if local else 'https'}://{server}"
    if not re.match(r"https?://[^/\s?#]+", server):
        raise BadSettings("error.bad_server", server=server)
    return re.sub(r"/(services/kqi|hub)(/.*)?$", "", server.split("?")[0].split("#")[0]).rstrip("/")


def store(settings: Settings, environ: Mapping[str, str] | None = None) -> Path:
    """Keep server, tenant, private CA and token for later commands; return the token's file."""
    place = folder(os.environ if environ is None else environ)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = Stored(server=settings.server, tenant=settings.tenant, ca_file=settings.ca_file)
    _write(place / "config.json", config)
    token = place / "token.json"
    if settings.token:
        _write(token, StoredToken(server=settings.server, token=settings.token.reveal()))
    return token


def is_stored(settings: Settings, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the token is the one that `store` kept, and not one that the environment lends."""
    stored = _read(folder(os.environ if environ is None else environ) / "token.json", StoredToken)
    return bool(stored and settings.token and stored.token == settings.token.reveal())


def forget_token(environ: Mapping[str, str] | None = None) -> None:
    """Remove the token of this person from this machine. Idempotent."""
    (folder(os.environ if environ is None else environ) / "token.json").unlink(missing_ok=True)


def folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for a person's configuration, as the platform has it."""
    if environ.get("KQI_CONFIG_DIR"):
        return Path(environ["KQI_CONFIG_DIR"])
    if environ.get("XDG_CONFIG_HOME"):
        return Path(environ["XDG_CONFIG_HOME"]) / "kqi"
    if sys.platform == "win32":
        return Path(environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "kqi"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "kqi"
    return Path.home() / ".config" / "kqi"


def with_token(settings: Settings, token: str) -> Settings:
    return replace(settings, token=Secret(token))


def _token(server: str, environ: Mapping[str, str]) -> Secret | None:
    if environ.get("KQI_TOKEN"):
        return Secret(environ["KQI_TOKEN"])
    stored = _read(folder(environ) / "token.json", StoredToken)
    return Secret(stored.token) if stored and stored.server == server else None


def _read(path: Path, model: type[Model]) -> Model | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as problem:
        raise BadSettings("error.bad_settings", path=path, reason=say("error.not_readable")) from problem


def _write(path: Path, model: BaseModel) -> None:
    """Replace a file in one step; only its owner may read it, where the system has modes."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(model.model_dump_json(indent=1, exclude_none=True))
    os.replace(fresh, path)
