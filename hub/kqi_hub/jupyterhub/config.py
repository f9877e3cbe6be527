"""JupyterHub's configuration, from our settings."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from sqlalchemy import Engine, event

from kqi_hub.db.place import place_of
from kqi_hub.db.postgresql import PostgresServer
from kqi_hub.db.sqlite import SqliteFile
from kqi_hub.i18n import COOKIE, choose, text
from kqi_hub.jupyterhub import reader
from kqi_hub.jupyterhub.apply import Apply
from kqi_hub.jupyterhub.authenticator import NAME, KqiAuthenticator
from kqi_hub.jupyterhub.pages import ChangePassword, FirstPassword, Home, SignIn
from kqi_hub.jupyterhub.progress import PROGRESS
from kqi_hub.jupyterhub.rest import MakeToken, Verify
from kqi_hub.jupyterhub.servers import SERVERS
from kqi_hub.jupyterhub.sessions import Sessions
from kqi_hub.jupyterhub.terms import Terms
from kqi_hub.runtime import Runtime, kept_secret
from kqi_hub.settings import STRICT_TRANSPORT, Settings
from kqi_hub.traits import apply_traits
from kqi_spawner.backend import ExecutionBackend

TEMPLATES = Path(__file__).parent / "templates"
SERVICE = "kqi"
PAGES = (
    ("/login", SignIn),
    ("/home", Home),
    ("/token", Home),
    ("/kqi/first-password", FirstPassword),
    ("/kqi/password", ChangePassword),
    ("/kqi/terms", Terms),
    ("/kqi/token", MakeToken),
    ("/kqi/verify", Verify),
    ("/kqi/sessions", Sessions),
    ("/kqi/apply", Apply),
    *PROGRESS,
    *SERVERS,
)
_SPAWNERS = {
    "local": ("kqi_spawner.jupyterhub.local_spawner", "KqiLocalSpawner"),
    "kubernetes": ("kqi_spawner.jupyterhub.kube_spawner", "KqiKubeSpawner"),
}
# All of JupyterHub's `self` but its tokens: they would be in no list of ours, wider than ours, and without an end.
_OF_PEOPLE = [
    "read:users!user",
    "users:activity!user",
    "servers!user",
    "access:servers!user",
    "access:services!service=kqi",
]
OpenBackend = Callable[[], Awaitable[ExecutionBackend]]


class QuietProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """Routes are still repaired, but bytes through the proxy do not count as a person's activity."""

    async def get_all_routes(self) -> dict[str, Any]:
        routes: dict[str, Any] = await super().get_all_routes()
        for route in routes.values():
            route["data"].pop("last_activity", None)
        return routes


def configure(c: Any, settings: Settings, runtime: Runtime, open_backend: OpenBackend) -> None:
    """Set everything that JupyterHub needs; `[traits.Class]` tables and `config.d` come last, so that they win."""
    _hub(c, settings, runtime)
    _service(c, settings, runtime)
    _people(c, settings)
    _servers(c, settings, runtime, open_backend)
    apply_traits(c, settings)


def _hub(c: Any, settings: Settings, runtime: Runtime) -> None:
    settings.hub_state.mkdir(mode=0o700, parents=True, exist_ok=True)
    c.JupyterHub.bind_url = f"{settings.url}/"
    c.JupyterHub.public_url = f"{settings.url}/"
    c.JupyterHub.hub_bind_url = f"http://{runtime.hub_host}:{runtime.hub_port}"
    c.JupyterHub.hub_connect_url = runtime.hub_url.removesuffix("/hub")
    c.JupyterHub.proxy_class = QuietProxy
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = runtime.proxy_api_url
    c.ConfigurableHTTPProxy.auth_token = kept_secret(settings, "proxy-token").reveal()
    c.JupyterHub.db_url = _database_url(settings)
    if isinstance(place_of(settings), SqliteFile):
        event.listen(Engine, "connect", _in_a_log)
    # Ours are drawn with all the entropy that a token can have: to stretch them costs 10 ms of every request.
    c.JupyterHub.trust_user_provided_tokens = True
    c.JupyterHub.cookie_secret = bytes.fromhex(kept_secret(settings, "cookie-secret").reveal())
    c.CryptKeeper.keys = [bytes.fromhex(kept_secret(settings, "crypt-key").reveal())]
    c.JupyterHub.template_paths = [str(TEMPLATES)]
    # The hub calls what is callable with the person, and hands on what that returns.
    c.JupyterHub.template_vars = {"t": lambda _person: reader.t, "language": lambda _person: reader.language}
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.oauth_require_pkce = True
    c.JupyterHub.last_activity_interval = 60
    c.JupyterHub.default_url = "/services/kqi/"
    # Also where a proxy in front of us ends TLS, so that the hub itself sees plain requests.
    cookies = {"secure": True} if settings.secure else {}
    c.JupyterHub.tornado_settings = {
        "slow_spawn_timeout": 0,
        "cookie_options": {**cookies, "samesite": "lax"},
        "xsrf_cookie_kwargs": cookies,
        "headers": STRICT_TRANSPORT if settings.secure else {},
    }
    c.JupyterHub.log_level = "WARN"
    c.JupyterHub.log_format = "%(levelname)s %(message)s"
    if settings.server.subdomain_host:
        c.JupyterHub.subdomain_host = settings.server.subdomain_host


def _in_a_log(connection: Any, _record: object) -> None:
    """Do not let the one thread of the hub wait for the disk at every commit; what a power cut takes is told again."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _database_url(settings: Settings) -> str:
    place = place_of(settings)
    if not isinstance(place, PostgresServer):
        return f"sqlite:///{settings.hub_state / 'jupyterhub.sqlite'}"
    passfile = settings.hub_state / "pgpass"
    place.write_passfile(passfile)
    return place.hub_url(passfile)


def _service(c: Any, settings: Settings, runtime: Runtime) -> None:
    c.JupyterHub.services = [
        {
            "name": SERVICE,
            "url": runtime.api_url,
            "api_token": kept_secret(settings, "service-token").reveal(),
            "oauth_client_id": runtime.oauth_client_id,
            "oauth_redirect_uri": "/services/kqi/oauth_callback",
            "oauth_no_confirm": True,
            "display": False,
        }
    ]
    scopes = [
        "servers",  # to start, stop and watch the servers of notebooks
        "admin:users",  # to add somebody whom the hub has not met yet; it has no narrower scope for that
        "access:services!service=kqi",
    ]
    c.JupyterHub.load_roles = [
        {"name": "kqi-service", "scopes": scopes, "services": [SERVICE]},
        {"name": "user", "scopes": _OF_PEOPLE},
        {"name": "admin", "users": []},  # it reaches into everybody's server: nobody has it, nor who had it before
    ]


def _people(c: Any, settings: Settings) -> None:
    KqiAuthenticator.pages = PAGES
    c.JupyterHub.authenticator_class = KqiAuthenticator
    c.KqiAuthenticator.platform = settings
    c.Authenticator.username_pattern = f"^{NAME.pattern}$"
    c.Authenticator.allow_all = True  # who may sign in is the directory's decision
    c.Authenticator.manage_groups = True
    c.Authenticator.enable_auth_state = True
    # With the 15 seconds for which the service believes the hub: who is suspended is out within a minute.
    c.Authenticator.auth_refresh_age = 30
    # For those as well who come with a token of the hub's, as our sessions and JupyterLab's do.
    c.Authenticator.auth_refresh_strict = True


def _leave_to_the_api(_spawner: object, _options: object) -> None:
    """A person's options are a request; the api has validated and recorded them under the number of the run."""


def _say(key: str, accept_language: str, params: Mapping[str, object]) -> str:
    return text(key, choose(accept_language), params)


def _servers(c: Any, settings: Settings, runtime: Runtime, open_backend: OpenBackend) -> None:
    # By name, for that of the cluster needs an extra that one machine does without.
    module, name = _SPAWNERS[settings.engine.kind]
    c.JupyterHub.spawner_class = f"{module}.{name}"
    spawner = c[name]
    spawner.open_backend = open_backend
    spawner.api_url = f"{runtime.api_url}/services/kqi/api/v1"
    spawner.api_token_file = str(settings.secrets / "service-token")
    spawner.language_cookie = COOKIE
    spawner.say = _say
    c.Spawner.http_timeout = 120
    # How many start at once is admission's decision; who waits for room in a cluster keeps nobody out.
    c.JupyterHub.concurrent_spawn_limit = 0
    if settings.engine.kind == "local":
        spawner.contexts_folder = str(settings.hub_state / "servers")
        spawner.start_timeout = 300  # that of a cluster has two clocks of its own
    c.Spawner.default_url = "/lab"
    c.Spawner.apply_user_options = _leave_to_the_api
    c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server"]
