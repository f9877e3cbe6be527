"""The configuration: one `kqi-hub.toml`, every key also as `KQI_HUB__A__B`; the only reader of the environment."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kqi_hub.errors import ConfigError

_PREFIX = "KQI_HUB__"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Section):
    bind: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False  # must be said to bind another address than loopback without TLS
    public_url: str = ""  # empty: made of bind and port
    subdomain_host: str = ""


class GpuCards(_Section):
    kind: str = Field(min_length=1, max_length=100)
    indexes: list[int] = Field(min_length=1)
    memory_mib: int | None = None


class Engine(_Section):
    kind: Literal["local"] = "local"
    isolation: Literal["auto", "bubblewrap", "unshare", "links"] = "auto"
    run_as: str = "kqi"  # account of the workloads where the platform runs as root
    gpus: list[GpuCards] | None = None  # None: ask the driver
    cpu: float | None = Field(default=None, gt=0)  # cores to give out; None: what the machine has
    memory_gb: float | None = Field(default=None, gt=0)
    fallback_image: str | None = None  # environment for images that no environment goes by the name of


class Limits(_Section):
    """How many runs and notebooks may be at work at once; None: as many as fit."""

    running_per_tenant: int | None = Field(default=None, ge=1)
    running_per_person: int | None = Field(default=None, ge=1)


class SignIn(_Section):
    attempts: int = Field(default=5, ge=1)  # wrong passwords until the account is locked
    lock_s: int = Field(default=300, ge=1)
    attempts_per_minute: int = Field(default=30, ge=1)  # of one network address
    password_min_length: int = Field(default=10, ge=8)


class Sources(_Section):
    local_paths: bool = True  # git repositories that are folders of this machine
    timeout_s: float = Field(default=60, gt=0)


class Settings(_Section):
    state: Path
    store: Path
    server: Server = Server()
    engine: Engine = Engine()
    limits: Limits = Limits()
    sign_in: SignIn = SignIn()
    sources: Sources = Sources()
    default_tenant: str = "sandbox"
    defaults: dict[str, str] = {}  # variables of every run that its person may override, e.g. proxies
    crash: str | None = None  # drills only: die at this named point
    traits: dict[str, dict[str, Any]] = {}  # passed through to JupyterHub: [traits.Class] name = value

    @property
    def database(self) -> Path:
        return self.state / "kqi.sqlite"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def environments(self) -> Path:
        return self.state / "environments"

    @property
    def tools(self) -> Path:
        """What every run finds at `/kqi/tools`."""
        return self.environments / ".tools"

    @property
    def hub_state(self) -> Path:
        return self.state / "hub"

    @property
    def url(self) -> str:
        """The address that people open, without a slash at the end."""
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        host = "127.0.0.1" if self.server.bind in {"0.0.0.0", "::"} else self.server.bind  # noqa: S104 - compared, not bound
        return f"{'https' if self.server.tls_cert else 'http'}://{host}:{self.server.port}"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings of `path` (default: `kqi-hub.toml` in the state folder, if there), environment and overrides.

    `overrides` are `{"server": {"port": …}}`. Raises ConfigError with the key that is wrong.
    """
    environ = os.environ if environ is None else environ
    layers = [_environment(environ), overrides]
    given_state = next((layer["state"] for layer in reversed(layers) if layer.get("state")), None)
    state = Path(given_state or default_state(environ)).expanduser().absolute()
    merged: dict[str, Any] = {}
    for layer in [_file(path, state, environ), *layers]:
        _merge(merged, layer)
    merged["state"] = Path(merged.get("state") or state).expanduser().absolute()
    merged.setdefault("store", merged["state"] / "store")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        code = "config_unknown_key" if first["type"] == "extra_forbidden" else "config_bad_value"
        raise ConfigError(code, key=key, message=first["msg"]) from error
    _check_exposure(settings)
    return settings


def default_state(environ: Mapping[str, str]) -> Path:
    """Return where the state lies unless somebody says otherwise: never in the checkout."""
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/kqi")
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "share")
    return Path(base) / "kqi"


def _file(path: Path | None, state: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    named = path or (Path(environ["KQI_HUB_CONFIG"]) if environ.get("KQI_HUB_CONFIG") else None)
    chosen = named or state / "kqi-hub.toml"
    if named is None and not chosen.exists():
        return {}
    try:
        return tomllib.loads(chosen.read_text("utf-8"))
    except OSError as error:
        raise ConfigError("config_unreadable", path=chosen, message=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config_not_toml", path=chosen, message=str(error)) from error


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            *parents, leaf = name.removeprefix(_PREFIX).lower().split("__")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = _value(text)
    return tree


def _value(text: str) -> Any:
    """Read a value as TOML does (numbers, lists, booleans), else as the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            inner = into.setdefault(key, {})
            _merge(inner, value) if isinstance(inner, dict) else into.update({key: dict(value)})
        elif value is not None:
            into[key] = value


def _check_exposure(settings: Settings) -> None:
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("config_tls_pair")
    loopback = server.bind == "localhost" or server.bind.startswith("127.") or server.bind == "::1"
    if not loopback and not server.tls_cert and not server.plain_http:
        raise ConfigError("config_plain_http", bind=server.bind)


def terminal_language(environ: Mapping[str, str] | None = None) -> str:
    """Return what the terminal's locale asks for, as a value of Accept-Language."""
    environ = os.environ if environ is None else environ
    found = next((environ[name] for name in ("KQI_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return found.split(".")[0].replace("_", "-")


def installer_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a package installer needs: where programs are, and how this site reaches its registries."""
    environ = os.environ if environ is None else environ
    wanted = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
    prefixes = ("UV_", "PIP_", "npm_config_", "NPM_CONFIG_")
    proxies = {"http_proxy", "https_proxy", "no_proxy"}
    return {
        name: value
        for name, value in environ.items()
        if name in wanted or name.startswith(prefixes) or name.lower() in proxies
    }


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what the platform's own processes get: the same settings as this one, and little else."""
    environ = os.environ if environ is None else environ
    wanted = (
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "KQI_HUB_CONFIG",
        "XDG_DATA_HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    )
    return {name: value for name, value in environ.items() if name in wanted or name.startswith(_PREFIX)}


def one_time(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether `ONCE=1` asks to stop the work, too, when the platform stops."""
    environ = os.environ if environ is None else environ
    return environ.get("ONCE") == "1"


def as_environment(overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return overrides of `load` as variables, so that another process loads the same settings."""
    found = {}
    for section, value in overrides.items():
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if inner is not None:
                    found[f"{_PREFIX}{section}__{key}".upper()] = _text(inner)
        elif value is not None:
            found[f"{_PREFIX}{section}".upper()] = str(value)
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
