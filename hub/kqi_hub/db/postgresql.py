"""PostgreSQL: one database on a server, shared by all replicas of the service; one writer at a time here, too."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import asyncpg
import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kqi_hub.errors import ConfigError, Unavailable
from kqi_hub.settings import Database as Settings

# Held by whoever writes, to the end of the transaction: the letters "KQI" and a number.
WRITERS = 0x4B51_4900_0000_0001
# JupyterHub's tables are in the same database, with migrations of their own; nobody else's tables are touched.
OWN_SCHEMA, HUB_SCHEMA = SCHEMAS = ("kqi", "jupyterhub")
_CONNECT_S = 10
# What the server keeps to for each of our connections, whatever becomes of us.
_SESSION = {
    "application_name": "kqi-hub",
    "timezone": "UTC",
    "search_path": OWN_SCHEMA,
    "lock_timeout": "10s",
    # A replica that is frozen in a transaction must not keep all the others from writing for ever.
    "idle_in_transaction_session_timeout": "120s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
# By SQLSTATE, most particular first (appendix A of PostgreSQL's manual).
_FAULTS = {
    "53100": "disk_full",
    "25006": "store_read_only",  # a standby, or a server that was made read-only
    "58": "store_read_only",
    "53": "database_busy",
    "55P03": "database_busy",
    "57014": "database_busy",
    "40": "database_busy",
    "0A000": "database_busy",  # the schema has changed under a prepared statement, which is then made anew
    "08": "database_unreachable",
    "57P": "database_unreachable",
    "25P03": "database_unreachable",
    "28": "database_unreachable",
    "3D": "database_unreachable",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    settings: Settings

    @property
    def shown(self) -> str:
        return self.settings.url

    def engine(self) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={"async_creator_fn": self.connect},
            isolation_level="READ COMMITTED",
            pool_size=self.settings.pool,
            max_overflow=0,
            pool_timeout=_CONNECT_S,
            pool_pre_ping=True,  # a request after a restart of the server gets a new connection instead of an error
        )
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "handle_error", _given_up)
        return engine

    def reading(self, engine: AsyncEngine) -> AsyncEngine:
        return engine.execution_options(isolation_level="REPEATABLE READ")

    def sync_engine(self) -> Engine:
        engine = create_engine("postgresql+psycopg://", creator=self._connect, poolclass=pool.NullPool)
        event.listen(engine, "begin", _begin)
        return engine.execution_options(kqi_write=True)

    def prepare(self, connection: Connection) -> None:
        """Make the schemas. Raises ConfigError for a database that cannot keep our texts."""
        encoding = connection.exec_driver_sql("show server_encoding").scalar()
        if encoding != "UTF8":
            raise ConfigError("database_not_utf8", path=self.shown, encoding=encoding)
        for schema in SCHEMAS:
            # An account that may make no schemas may have been given these.
            if connection.exec_driver_sql(f"select to_regnamespace('{schema}')").scalar() is None:
                connection.exec_driver_sql(f"create schema {schema}")

    def fault(self, error: BaseException) -> Unavailable | None:
        if isinstance(error, PoolTimeout):
            return Unavailable("database_busy")
        original = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(original, "sqlstate", None) or ""
        for prefix, code in _FAULTS.items():
            if state.startswith(prefix):
                return Unavailable(code)
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        # Of a connection that ended under a statement the drivers say so, but with no state of the server's.
        return Unavailable("database_unreachable") if lost or _is_lost(original) else None

    async def connect(self, **_options: object) -> asyncpg.Connection:
        """Open a connection. Raises Unavailable."""
        place = self.libpq()
        try:
            return await asyncpg.connect(
                host=place["host"],
                port=int(place["port"]),
                user=place["user"],
                database=place["dbname"],
                password=self.password(),
                ssl=_context(self.settings, place["host"]),
                timeout=_CONNECT_S,
                server_settings=_SESSION,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self.fault(error) or Unavailable("database_unreachable") from error

    def password(self) -> str | None:
        """Read anew each time, so that it can be changed while the platform runs."""
        path = self.settings.password_file
        if path is None:
            return None
        try:
            return path.read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigError("config_unreadable", path=path, message=error.strerror) from error

    def libpq(self) -> dict[str, str]:
        """Return where the database is and how the connection is guarded, in the words of libpq; no password."""
        found = urlsplit(self.settings.url)
        query = parse_qs(found.query)
        host = query["host"][0] if "host" in query else found.hostname or ""
        port = query["port"][0] if "port" in query else str(found.port or 5432)
        place = {"host": host, "port": port, "user": unquote(found.username or ""), "dbname": unquote(found.path[1:])}
        if host.startswith("/"):
            return place
        guarded = self.settings.sslmode.startswith("verify")
        authorities = {"sslrootcert": str(self.settings.ca_file or "system")} if guarded else {}
        return {**place, "sslmode": self.settings.sslmode, **authorities}

    def hub_url(self, passfile: Path) -> str:
        """Return where JupyterHub keeps its tables; it logs this address, so the password is in `passfile`."""
        parts = self.libpq()
        user, name = quote(parts.pop("user"), safe=""), quote(parts.pop("dbname"), safe="")
        more = {**parts, "passfile": str(passfile), "options": f"-csearch_path={HUB_SCHEMA}"}
        return f"postgresql+psycopg://{user}@/{name}?{urlencode(more)}"

    def write_passfile(self, passfile: Path) -> None:
        """Write the password as programs of libpq read it."""
        plain = (self.password() or "").replace("\\", "\\\\").replace(":", "\\:")
        building = passfile.with_name(f".{passfile.name}.new")
        building.unlink(missing_ok=True)
        building.touch(mode=0o600)
        building.write_text(f"*:*:*:*:{plain}\n", "utf-8")
        building.replace(passfile)

    def _connect(self) -> "psycopg.Connection[Any]":
        options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items() if name != "application_name")
        try:
            return psycopg.connect(
                make_conninfo("", **self.libpq()),
                password=self.password(),
                application_name=_SESSION["application_name"],
                connect_timeout=_CONNECT_S,
                options=options,
            )
        except psycopg.OperationalError as error:
            raise ConfigError("database_unreachable_at", path=self.shown, message=str(error).strip()) from error


def _begin(connection: Connection) -> None:
    # READ COMMITTED: each statement after this one sees all that earlier writers have committed. A snapshot of the
    # whole transaction would be as old as the beginning of the wait.
    if connection.get_execution_options().get("kqi_write"):
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({WRITERS})")


def _given_up(context: ExceptionContext) -> None:
    # Whatever a kept connection says when it is asked for a sign of life: a new one tells how things stand.
    if context.is_pre_ping:
        context.is_disconnect = True


def _context(settings: Settings, host: str) -> ssl.SSLContext | bool:
    if settings.sslmode == "disable" or host.startswith("/"):
        return False
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigError("config_unreadable", path=settings.ca_file, message=str(error)) from error
    if settings.sslmode != "verify-full":
        context.check_hostname = False
    if settings.sslmode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_lost(error: BaseException | None) -> bool:
    cause = getattr(error, "__cause__", None) or error
    return isinstance(cause, OSError | asyncpg.InterfaceError | asyncpg.PostgresConnectionError)
