"""What people bring along: SSH keys, credentials, notification targets, and that they accepted the terms."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import UtcTime, Whole, Words

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(sa.Column("last_used_from", Words(64), nullable=True))
    with op.batch_alter_table("idempotency") as idempotency:
        idempotency.add_column(sa.Column("sealed", Words(), nullable=True))
    # Answers that were remembered before may show the text of a token.
    op.execute("DELETE FROM idempotency")
    op.create_table(
        "ssh_keys",
        *_of_a_person(),
        sa.Column("fingerprint", Words(64), nullable=False),
        sa.Column("key", Words(), nullable=False),
        sa.Column("comment", Words(255), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        sa.Column("last_used_from", Words(64), nullable=True),
        *_keys("ssh_keys"),
        sa.UniqueConstraint("person_id", "fingerprint", name=op.f("uq_ssh_keys_person_id_fingerprint")),
    )
    op.create_index(op.f("ix_ssh_keys_fingerprint"), "ssh_keys", ["fingerprint"])
    op.create_table(
        "credentials",
        *_of_a_person(),
        sa.Column("kind", Words(16), nullable=False),
        sa.Column("server", Words(255), nullable=False),
        sa.Column("username", Words(255), nullable=False),
        sa.Column("secret", Words(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_used_at", UtcTime(), nullable=True),
        *_keys("credentials"),
        sa.UniqueConstraint("person_id", "kind", "server", name=op.f("uq_credentials_person_id_kind_server")),
    )
    op.create_table(
        "notification_targets",
        *_of_a_person(),
        sa.Column("kind", Words(16), nullable=False),
        sa.Column("name", Words(255), nullable=False),
        sa.Column("address", Words(), nullable=False),
        sa.Column("key", Words(), nullable=True),
        sa.Column("mention", Words(255), nullable=False),
        sa.Column("events", Words(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("told_at", UtcTime(), nullable=True),
        sa.Column("fault", Words(255), nullable=False),
        *_keys("notification_targets"),
    )
    op.create_index(op.f("ix_notification_targets_person_id"), "notification_targets", ["person_id"])
    op.create_table(
        "notices",
        sa.Column("id", Whole, nullable=False),
        sa.Column("target_id", Whole, nullable=False),
        sa.Column("event", Words(), nullable=False),
        sa.Column("tries", Whole, nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["notification_targets.id"],
            name=op.f("fk_notices_target_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_notices_target_id"), "notices", ["target_id"])
    op.create_index(op.f("ix_notices_due_at"), "notices", ["due_at"])
    op.create_table(
        "terms",
        sa.Column("version", Whole, nullable=False, autoincrement=False),
        sa.Column("texts", Words(), nullable=False),
        sa.Column("published_at", UtcTime(), nullable=False),
        sa.Column("published_by", Words(64), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_terms")),
    )
    op.create_table(
        "terms_accepted",
        sa.Column("person_id", Whole, nullable=False),
        sa.Column("version", Whole, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("address", Words(64), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "version", name=op.f("pk_terms_accepted")),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_terms_accepted_person_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["version"], ["terms.version"], name=op.f("fk_terms_accepted_version")),
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")


def _of_a_person() -> tuple[sa.Column[int], ...]:
    return (sa.Column("id", Whole, nullable=False), sa.Column("person_id", Whole, nullable=False))


def _keys(table: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f(f"fk_{table}_person_id"), ondelete="CASCADE"),
    )
