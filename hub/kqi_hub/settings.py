"""The configuration: one `kqi-hub.toml`, every key also as `KQI_HUB__A__B`; the only reader of the environment."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, Field, IPvAnyNetwork, PrivateAttr, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from kqi_hub.errors import ConfigError
from kqi_hub.i18n import Fault
from kqi_hub.settings_cluster import STRICT, Kubernetes
from kqi_hub.settings_outside import KEY_SERVERS, KeyServer, Networks, Outbound, Smtp, Texts
from kqi_hub.settings_people import Applications, Audit, SignIn, Tenants

_PREFIX = "KQI_HUB__"
GATE = "KQI_HUB_GATE"
# Where volumes may be seen: beside what a run has under /kqi, or where people of other systems are used to them.
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
_VOLUME_PLACE = re.compile(r"/kqi/(models|volumes)(/[\w.-]+)*|/(data|datasets|models|mnt|share|shared)/[\w./-]+")


class _Section(BaseModel):
    model_config = STRICT


class Server(_Section):
    bind: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False  # must be said to bind another address than loopback without TLS
    public_url: str = ""  # empty: made of bind and port, which nobody else than this machine reaches
    subdomain_host: str = ""


class Database(_Section):
    """SQLite in the state folder, unless `url` names a database of PostgreSQL."""

    url: str = ""  # postgresql://account@host:5432/name, or by a socket postgresql://account@/name?host=/run/postgresql
    password_file: Path | None = None
    pool: int = Field(default=10, ge=2, le=1000)  # connections of each process
    sslmode: Literal["verify-full", "verify-ca", "require", "disable"] = "verify-full"
    ca_file: Path | None = None  # None: the authorities that the system trusts

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        found = urlsplit(url)
        if found.password is not None or "password" in parse_qs(found.query):
            raise PydanticCustomError("holds_password", "must hold no password: name a file as password_file")
        named = found.scheme == "postgresql" and found.username and found.path.strip("/")
        if url and not (named and (found.hostname or parse_qs(found.query).keys() == {"host"})):
            raise PydanticCustomError("not_postgresql", "must be postgresql://account@host:port/name")
        return url


class GpuCards(_Section):
    kind: str = Field(min_length=1, max_length=100)
    indexes: list[int] = Field(min_length=1)
    memory_mib: int | None = None


class Engine(_Section):
    kind: Literal["local", "kubernetes"] = "local"
    isolation: Literal["auto", "bubblewrap", "unshare", "links"] = "auto"
    run_as: str = "kqi"  # account of the workloads where the platform runs as root
    gpus: list[GpuCards] | None = None  # None: ask the driver
    cpu: float | None = Field(default=None, gt=0)  # cores to give out; None: what the machine has
    memory_gb: float | None = Field(default=None, gt=0)
    fallback_image: str | None = None  # environment for images that no environment goes by the name of


class Addresses(_Section):
    """Where the platform's parts are where no supervisor starts them, because each is a deployment of its own."""

    hub: str = "http://hub:8081"  # as the proxy, the api and people's servers reach it
    api: str = "http://api:8082"  # as the hub and the proxy reach it
    proxy: str = "http://proxy-api:8001"  # where the proxy is told its routes
    inside: str = ""  # how workloads reach the platform; empty: as people do
    forwarded_by: list[IPvAnyNetwork] = []  # whose word on where a request comes from is taken


class Volume(_Section):
    """Files that are there already and that runs see: models, a shared data area."""

    name: str = Field(pattern="^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    path: Path | None = None  # on one machine: a folder of it
    claim: str | None = None  # on a cluster: a claim in the namespace of the work
    folder: str = ""  # of the claim; empty: all of it
    at: str = ""  # where runs see it; empty: /kqi/volumes/NAME
    access: Literal["ro", "rw"] = "ro"
    tenants: list[str] = []  # empty: everybody's

    @property
    def target(self) -> str:
        return self.at or f"/kqi/volumes/{self.name}"

    @staticmethod
    def may_be_seen_at(place: str) -> bool:
        """Return whether a volume there covers nothing that a run needs."""
        return bool(_VOLUME_PLACE.fullmatch(place)) and ".." not in Path(place).parts


class Limits(_Section):
    """How many runs and notebooks may be at work at once; None: as many as fit."""

    running_per_tenant: int | None = Field(default=None, ge=1)
    running_per_person: int | None = Field(default=None, ge=1)


class Sources(_Section):
    local_folders: list[Path] = []  # where repositories of this machine lie that everybody may read
    # Networks with repositories, beside the open internet; None: anywhere, as on a machine that people use themselves.
    private_networks: Networks | None = None
    timeout_s: float = Field(default=3600, gt=0)  # of one fetch, which ends earlier where nothing comes
    key_servers: list[KeyServer] = KEY_SERVERS  # where people's SSH keys are fetched from by name


class Settings(_Section):
    state: Path
    store: Path
    server: Server = Server()
    database: Database = Database()
    engine: Engine = Engine()
    kubernetes: Kubernetes | None = None
    addresses: Addresses | None = None
    limits: Limits = Limits()
    tenants: Tenants = Tenants()
    sign_in: SignIn = SignIn()
    audit: Audit = Audit()
    applications: Applications = Applications()
    sources: Sources = Sources()
    outbound: Outbound = Outbound()
    smtp: Smtp | None = None  # None: no mail is sent
    texts: Texts = Texts()
    volumes: list[Volume] = []
    default_tenant: str = "sandbox"
    defaults: dict[str, str] = {}  # variables of every run that its person may override, e.g. proxies
    crash: str | None = None  # drills only: die at this named point
    traits: dict[str, dict[str, Any]] = {}  # passed through to JupyterHub: [traits.Class] name = value
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that this was read from, where one was named."""
        return self._file

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
    def variables(self) -> dict[str, str]:
        """The variables of every run: proxies in both spellings, for programs read one or the other."""
        return self.proxies | self.defaults

    @property
    def proxies(self) -> dict[str, str]:
        """The variables by which this site reaches others, in both spellings."""
        found = {name: value for name, value in self.defaults.items() if is_proxy(name)}
        return {spelt: value for name, value in found.items() for spelt in (name.lower(), name.upper())}

    @property
    def on_cluster(self) -> Kubernetes:
        """What is said about the cluster. Raises ConfigError if nothing is."""
        if self.kubernetes is None:
            raise ConfigError("config_no_cluster")
        return self.kubernetes

    @property
    def hub_state(self) -> Path:
        return self.state / "hub"

    @property
    def url(self) -> str:
        """The address that people open, without a slash at the end."""
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        host = f"[{self.server.bind}]" if ":" in self.server.bind else self.server.bind
        return f"{'https' if self.server.tls_cert else 'http'}://{host}:{self.server.port}"

    @property
    def secure(self) -> bool:
        """Whether people come by HTTPS, also where something in front of us ends it."""
        return self.url.startswith("https:")


def is_proxy(name: str) -> bool:
    """Return whether a variable of that name says how others are reached."""
    return name.lower() in _PROXIES


# What browsers are told where people come by HTTPS: never to come otherwise, for a year.
STRICT_TRANSPORT = {"Strict-Transport-Security": "max-age=31536000"}


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings of `path` (default: `kqi-hub.toml` in the state folder, if there), environment and overrides.

    `overrides` are `{"server": {"port": …}}`. Raises ConfigError with the key that is wrong.
    """
    environ = os.environ if environ is None else environ
    layers = [_environment(environ), overrides]
    given_state = next((layer["state"] for layer in reversed(layers) if layer.get("state")), None)
    state = Path(given_state or default_state(environ)).expanduser().absolute()
    merged: dict[str, Any] = {}
    file = path or (Path(environ["KQI_HUB_CONFIG"]) if environ.get("KQI_HUB_CONFIG") else None)
    for layer in [_file(file, state), *layers]:
        _merge(merged, layer)
    merged["state"] = Path(merged.get("state") or state).expanduser().absolute()
    merged.setdefault("store", merged["state"] / "store")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        code = "config_unknown_key" if first["type"] == "extra_forbidden" else "config_bad_value"
        raise ConfigError(code, key=key, message=Fault(first)) from error
    settings._file = file and file.absolute()
    _check_exposure(settings)
    _check_volumes(settings)
    return settings


def default_state(environ: Mapping[str, str]) -> Path:
    """Return where the state lies unless somebody says otherwise: never in the checkout."""
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/kqi")
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "share")
    return Path(base) / "kqi"


def service_units(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of systemd's units: of the machine for root, of one's own account for everybody else."""
    environ = os.environ if environ is None else environ
    if os.geteuid() == 0:
        return Path("/etc/systemd/system")
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "systemd" / "user"


def _file(named: Path | None, state: Path) -> dict[str, Any]:
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
    if settings.database.sslmode == "verify-ca" and settings.database.ca_file is None:
        raise ConfigError("config_no_ca_file")
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("config_tls_pair")
    loopback = server.bind == "localhost" or server.bind.startswith("127.") or server.bind == "::1"
    if not loopback and not server.tls_cert and not server.plain_http:
        raise ConfigError("config_plain_http", bind=server.bind)
    if not loopback and not server.public_url:
        raise ConfigError("config_no_public_url", bind=server.bind)


def _check_volumes(settings: Settings) -> None:
    """Each must lie somewhere, be seen at a place of its own, and cover nothing that a run needs."""
    taken: set[str] = set()
    for volume in settings.volumes:
        lies = volume.path if settings.engine.kind == "local" else volume.claim
        if lies is None or (volume.path is not None and not volume.path.is_absolute()):
            wanted = "path" if settings.engine.kind == "local" else "claim"
            raise ConfigError("volume_nowhere", name=volume.name, key=wanted)
        if ".." in Path(volume.folder).parts or Path(volume.folder).is_absolute():
            raise ConfigError("volume_folder", name=volume.name, folder=volume.folder)
        target = Path(volume.target)
        if not volume.may_be_seen_at(str(target)) or str(target) in taken:
            raise ConfigError("volume_place", name=volume.name, at=volume.target)
        taken.add(str(target))


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
    return {
        name: value for name, value in environ.items() if name in wanted or name.startswith(prefixes) or is_proxy(name)
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


def part_environment(
    settings: Settings, config: Path | None, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return what a part that this process becomes gets: all of it, for a cluster tells by it where its own door is."""
    environ = os.environ if environ is None else environ
    given = {"KQI_HUB_CONFIG": config and config.absolute()}
    if settings.kubernetes is not None:  # a KubeSpawner finds its cluster by nothing else
        given["KUBECONFIG"] = settings.kubernetes.kubeconfig
    return {**environ, **{name: str(path) for name, path in given.items() if path}}


def gate() -> int | None:
    """Return the descriptor at which this process waits for its supervisor, once: its children have none."""
    found = os.environ.pop(GATE, None)
    return int(found) if found else None


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
