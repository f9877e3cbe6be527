"""A real PostgreSQL of the tests' own: Debian's programs on a folder and a port of loopback, gone with the tests."""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from kqi_hub.db.migrate import migrate
from kqi_hub.db.place import place_of
from kqi_hub.settings import load
from kqi_hub.testing.service import free_port

_PASSWORD = "canary-of-the-database-51aa"
_TEMPLATE = "kqi_template"
# Fast, not safe: the machine that falls over takes the tests along. Little shared memory, for several run side by side.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "log_destination": "stderr",
}


class Server:
    """Its databases are ordered by a language, as most are, to show that ours does not depend on it."""

    def __init__(self, **options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-postgres-"))
        self.port = free_port()
        self.options = {**_OPTIONS, "port": str(self.port), **options}
        self.password_file = self.folder / "password"
        self.process: subprocess.Popen[bytes] | None = None
        self._made = 0
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.password_file.write_text(_PASSWORD)
        self.password_file.chmod(0o644)
        words = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
        safe = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={self.password_file}", "--no-sync"]
        self._run(["initdb", "-D", str(self.folder / "data"), *words, *safe])

    def start(self) -> None:
        given = [word for name, value in self.options.items() for word in ("-c", f"{name}={value}")]
        command = _as_account([_program("postgres"), "-D", str(self.folder / "data"), *given])
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "QUIT", *command], stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(**self._administrator()).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: the server lets nobody finish; SIGQUIT: as if the machine had lost power."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> dict[str, Any]:
        """Make a database with the platform's schema in it; return the section of the settings that names it."""
        self._made += 1
        name = f"kqi_{os.getpid()}_{self._made}"
        self.administer(f"create database {name} template {_TEMPLATE} owner kqi")
        return self.section(name)

    @contextmanager
    def database_in(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The same on another disk, which may be full; what the server logs ahead stays on its own."""
        place = folder / "tables"
        place.mkdir()
        shutil.chown(place, "postgres", "postgres")
        self._made += 1
        name = f"kqi_{os.getpid()}_{self._made}"
        self.administer(f"create tablespace {name} location '{place}'")
        self.administer(f"create database {name} template {_TEMPLATE} owner kqi tablespace {name}")
        try:
            yield self.section(name)
        finally:
            self.administer(f"drop database {name} with (force)", f"drop tablespace {name}")

    def empty(self) -> dict[str, Any]:
        """Make a database with nothing in it."""
        self._made += 1
        name = f"kqi_{os.getpid()}_{self._made}"
        self.administer(f"create database {name} owner kqi")
        return self.section(name)

    def section(self, name: str) -> dict[str, Any]:
        return {
            "url": f"postgresql://kqi@127.0.0.1:{self.port}/{name}",
            "password_file": self.password_file,
            "sslmode": "disable",
        }

    def content(self, section: dict[str, Any]) -> str | None:
        """Return all schemas and rows, None for an empty database."""
        name = section["url"].rsplit("/", 1)[1]
        place = self._administrator()
        words = ["-h", place["host"], "-p", str(place["port"]), "-U", place["user"], "--no-comments", name]
        done = subprocess.run(
            [_program("pg_dump"), *words], env={"PGPASSWORD": _PASSWORD}, check=True, capture_output=True, text=True
        )
        # Each dump has a key of its own in lines that begin with a backslash.
        lines = [line for line in done.stdout.splitlines() if not line.startswith("\\")]
        return "\n".join(lines) if any(line.startswith("CREATE") for line in lines) else None

    def administer(self, *statements: str) -> None:
        with psycopg.connect(**self._administrator(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def make_template(self) -> None:
        self.administer(f"create role kqi login password '{_PASSWORD}'", f"create database {_TEMPLATE} owner kqi")
        migrate(place_of(load(environ={}, state=self.folder, database=self.section(_TEMPLATE))))

    def _administrator(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "user": "postgres", "password": _PASSWORD, "dbname": "postgres"}

    def _run(self, words: Sequence[str]) -> None:
        command = _as_account([_program(words[0]), *words[1:]])
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr


@functools.cache
def server() -> Server:
    """The one server of this test process."""
    found = Server()
    atexit.register(found.remove)
    found.start()
    found.make_template()
    return found


@contextmanager
def own_server(**options: str) -> Iterator[Server]:
    """A server that a test may stop, start and overload."""
    found = Server(**options)
    try:
        found.start()
        found.make_template()
        yield found
    finally:
        found.remove()


def _program(name: str) -> str:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(places[-1]) if places else shutil.which(name)
    assert found, "PostgreSQL is missing: `make test-postgres` installs it"
    return found


def _as_account(command: list[str]) -> list[str]:
    """The programs refuse to run as root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
