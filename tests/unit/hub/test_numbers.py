"""Numbers of people, tenants and tokens are given once, also in databases of earlier versions."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config

import kqi_hub.db.migrations
from kqi_hub.db.migrate import migrate
from kqi_hub.db.sqlite import SqliteFile

SCRIPTS = Path(kqi_hub.db.migrations.__file__).parent
AT = "2031-05-01 00:00:00"
FILLED = (
    f"INSERT INTO tenants (id, name, display_name, data_types, created_at) VALUES (1, 't', 'T', '[]', '{AT}')",
    *(
        "INSERT INTO people (id, name, display_name, disabled, default_tenant_id, created_at) "
        f"VALUES ({number}, '{name}', '{name}', 0, 1, '{AT}')"
        for number, name in ((1, "alice"), (2, "bob"), (3, "gone"))
    ),
    "UPDATE tenants SET created_by = 1",
    "INSERT INTO memberships (person_id, tenant_id, role) VALUES (1, 1, 'manager'), (2, 1, 'user')",
    f"INSERT INTO tokens (id, person_id, name, hash, created_at) VALUES (7, 2, 'laptop', 'h', '{AT}')",
    "INSERT INTO local_accounts (person_id, password_hash, must_change, failures) VALUES (1, 'secret', 0, 0)",
    "INSERT INTO audit (at, person_id, token_id, action, object, details) "
    f"VALUES ('{AT}', 3, 9, 'token.create', 'token/9', '{{}}')",
    "DELETE FROM people WHERE id = 3",
)


def old_database(path: Path) -> SqliteFile:
    """Make a database as the version before left it."""
    place = SqliteFile(path)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    engine = place.sync_engine()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        for statement in FILLED:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return place


def test_no_number_comes_back_after_an_update(tmp_path: Path) -> None:
    place = old_database(tmp_path / "kqi.sqlite")
    migrate(place)
    with sqlite3.connect(place.path) as database:
        database.execute("PRAGMA foreign_keys = ON")
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT id, name FROM people ORDER BY id").fetchall() == [(1, "alice"), (2, "bob")]
        assert database.execute("SELECT person_id, role FROM memberships").fetchall() == [(1, "manager"), (2, "user")]
        assert database.execute("SELECT person_id, password_hash FROM local_accounts").fetchall() == [(1, "secret")]
        assert database.execute("SELECT id, person_id FROM tokens").fetchall() == [(7, 2)]
        assert database.execute("SELECT created_by FROM tenants").fetchall() == [(1,)]
        database.execute("DELETE FROM people WHERE id = 2")
        assert database.execute("SELECT count(*) FROM tokens").fetchall() == [(0,)]  # they still go with their person
        assert added(database, "people", "name, display_name, disabled, default_tenant_id", "'new', 'New', 0, 1") == 4
        assert added(database, "tokens", "person_id, name, hash", "1, 'n', 'other'") == 10
        assert added(database, "tenants", "name, display_name, data_types", "'u', 'U', '[]'") == 2
        database.execute("DELETE FROM people WHERE id = 4")
        assert added(database, "people", "name, display_name, disabled, default_tenant_id", "'new', 'New', 0, 1") == 5
    database.close()


def added(database: sqlite3.Connection, table: str, columns: str, values: str) -> int:
    statement = f"INSERT INTO {table} ({columns}, created_at) VALUES ({values}, '{AT}')"
    number = database.execute(statement).lastrowid
    assert number is not None
    return number
