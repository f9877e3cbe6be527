"""When a local password was set and which ones were before it; since when a directory does not know somebody."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import UtcTime, Words

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("gone_at", UtcTime(), nullable=True))
    with op.batch_alter_table("local_accounts") as accounts:
        accounts.add_column(sa.Column("changed_at", UtcTime(), nullable=True))
        accounts.add_column(sa.Column("grace_used", sa.Integer(), nullable=False, server_default="0"))
    # No password is older than the rule about its age.
    op.execute(sa.text("UPDATE local_accounts SET changed_at = CURRENT_TIMESTAMP"))
    op.create_table(
        "former_passwords",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("password_hash", Words(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_former_passwords_person_id_people"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_former_passwords")),
    )
    op.create_index(op.f("ix_former_passwords_person_id"), "former_passwords", ["person_id"])
    # Shares of what is gone.
    op.execute("DELETE FROM shares WHERE kind = 'data' AND object_id NOT IN (SELECT id FROM data)")
    op.execute("DELETE FROM shares WHERE kind = 'dataset' AND object_id NOT IN (SELECT id FROM datasets)")
    op.execute("DELETE FROM shares WHERE kind = 'run' AND object_id NOT IN (SELECT key FROM runs)")


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
