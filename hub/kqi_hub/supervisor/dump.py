"""Both schemas of a PostgreSQL server in one file, and back, by PostgreSQL's own programs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import make_conninfo
from sqlalchemy import text

from kqi_hub.db.postgresql import SCHEMAS, PostgresServer
from kqi_hub.errors import ConfigError


def dump(server: PostgresServer, target: Path) -> None:
    """Write one snapshot of the platform's tables and JupyterHub's, also while they change."""
    schemas = [f"--schema={schema}" for schema in SCHEMAS]
    plain = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    _run(server, "pg_dump", [*plain, *schemas, f"--file={target}", f"--dbname={_address(server)}"])


def undump(server: PostgresServer, source: Path) -> None:
    """Put what `dump` wrote in place of what is there, all or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        gone, back = Path(folder, "gone.sql"), Path(folder, "back.sql")
        gone.write_text("".join(f"drop schema if exists {schema} cascade;\n" for schema in SCHEMAS), "utf-8")
        _run(server, "pg_restore", ["--no-owner", "--no-privileges", f"--file={back}", str(source)])
        words = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        _run(server, "psql", [*words, f"--file={gone}", f"--file={back}", f"--dbname={_address(server)}"])


def is_empty(server: PostgresServer) -> bool:
    engine = server.sync_engine()
    try:
        with engine.connect() as connection:
            tables = text("select count(*) from pg_tables where schemaname = any(:schemas)")
            return connection.execute(tables, {"schemas": list(SCHEMAS)}).scalar() == 0
    finally:
        engine.dispose()


def _address(server: PostgresServer) -> str:
    return make_conninfo("", **server.libpq())


def _run(server: PostgresServer, name: str, words: Sequence[str]) -> None:
    program = shutil.which(name)
    if program is None:
        raise ConfigError("pg_program_missing", name=name)
    with tempfile.TemporaryDirectory() as folder:
        passfile = Path(folder, "pgpass")
        server.write_passfile(passfile)
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGPASSFILE": str(passfile)}
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise ConfigError("pg_program_failed", name=name, message=done.stderr.strip()[-500:])
