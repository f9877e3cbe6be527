"""An audit log that the database itself lets nobody change; suspensions, errands, applications, browser sessions."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import UtcTime, Whole, Words

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SAID = (
    *("id", "at", "person_id", "person", "tenant_id", "tenant", "token_id"),
    *("address", "action", "object", "refused", "details"),
)
# Without the third, INSERT OR REPLACE would be a way to change an entry: it fires no trigger of DELETE.
_SQLITE = (
    "CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER audit_delete BEFORE DELETE ON audit "
    "WHEN NOT EXISTS (SELECT 1 FROM audit_anchors WHERE entry >= OLD.id) "
    "BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER audit_insert BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
    "BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER anchors_update BEFORE UPDATE ON audit_anchors BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER anchors_delete BEFORE DELETE ON audit_anchors BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'audit only grows'; END $$",
    # By the table's own schema: whoever deletes may have set another search path.
    "CREATE FUNCTION audit_delete() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE kept boolean; BEGIN "
    "EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM %I.audit_anchors WHERE entry >= $1)', TG_TABLE_SCHEMA) "
    "INTO kept USING OLD.id; IF kept THEN RAISE EXCEPTION 'audit only grows'; END IF; RETURN OLD; END $$",
    "CREATE TRIGGER audit_update BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_delete BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_delete()",
    "CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER anchors_change BEFORE UPDATE OR DELETE ON audit_anchors "
    "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER anchors_truncate BEFORE TRUNCATE ON audit_anchors EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    for name in ("audit_seals", "audit_anchors"):
        op.create_table(
            name,
            sa.Column("id", Whole, nullable=False),
            sa.Column("entry", Whole, nullable=False),
            sa.Column("hash", Words(64), nullable=False),
            sa.Column("at", UtcTime(), nullable=False),
            sa.Column("mac", Words(64), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        )
    _tables()
    for column in ("person", "object", "action"):
        op.create_index(f"ix_audit_{column}", "audit", [column, "id"])
    _link()
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def _tables() -> None:
    op.create_table(
        "suspensions",
        sa.Column("person_id", Whole, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("by", Words(64), nullable=False),
        sa.Column("reason", Words(1000), nullable=False),
        sa.Column("out_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_suspensions_person_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_suspensions")),
    )
    op.create_table(
        "browser_sessions",
        sa.Column("token", Words(32), nullable=False),
        sa.Column("person_id", Whole, nullable=False),
        sa.Column("address", Words(64), nullable=False),
        sa.Column("agent", Words(255), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.Column("used_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_browser_sessions_person_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_browser_sessions")),
    )
    op.create_index("ix_browser_sessions_person_id", "browser_sessions", ["person_id"])
    op.create_index("ix_browser_sessions_used_at", "browser_sessions", ["used_at"])
    op.create_table(
        "errands",
        sa.Column("id", Whole, nullable=False),
        sa.Column("kind", Words(32), nullable=False),
        sa.Column("about", Words(128), nullable=False),
        sa.Column("state", Words(16), nullable=False),
        sa.Column("asked", Words(), nullable=False),
        sa.Column("report", Words(), nullable=False),
        sa.Column("fault", Words(), nullable=False),
        sa.Column("by_id", Whole, nullable=False),
        sa.Column("by", Words(64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_errands")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_errands_state", "errands", ["state", "id"])
    op.create_table(
        "applications",
        sa.Column("id", Whole, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("name", Words(255), nullable=False),
        sa.Column("email", Words(255), nullable=False),
        sa.Column("category", Words(64), nullable=False),
        sa.Column("affiliation", Words(255), nullable=False),
        sa.Column("terms", Words(64), nullable=False),
        sa.Column("language", Words(5), nullable=False),
        sa.Column("address", Words(64), nullable=False),
        sa.Column("state", Words(16), nullable=False),
        sa.Column("user", Words(64), nullable=False),
        sa.Column("reason", Words(1000), nullable=False),
        sa.Column("by", Words(64), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_applications_state", "applications", ["state", "id"])


def _link() -> None:
    """Make entries of versions that knew no chain its beginning."""
    columns = [sa.column(name, UtcTime() if name == "at" else sa.String()) for name in _SAID]
    table = sa.table("audit", *columns, sa.column("hash", sa.String()))
    connection = op.get_bind()
    if not connection.execute(sa.select(table.c.id).where(table.c.hash == "").limit(1)).first():
        return
    before, last = "", 0
    while True:
        query = sa.select(*columns).where(table.c.id > last).order_by(table.c.id).limit(1_000)
        rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            said = [value.isoformat() if name == "at" else value for name, value in zip(_SAID, row, strict=True)]
            text = before + json.dumps(said, ensure_ascii=False)
            before = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
            connection.execute(table.update().where(table.c.id == row.id).values(hash=before))
        last = rows[-1].id


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
