"""Roles, what directories say of people, narrowed tokens, and an audit log that is a chain."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import UtcTime, Whole, Words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("name", Words(32), nullable=False),
        sa.Column("display_name", Words(255), nullable=False),
        sa.Column("level", Words(16), nullable=False),
        sa.Column("permissions", Words(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("email", Words(255), nullable=False, server_default=""))
        people.add_column(sa.Column("source", Words(16), nullable=False, server_default="local"))
        people.add_column(sa.Column("directory_id", Words(255), nullable=True))
        people.add_column(sa.Column("uid", Whole, nullable=True))
        people.add_column(sa.Column("gid", Whole, nullable=True))
        people.add_column(sa.Column("platform_role", Words(32), nullable=True))
        people.add_column(sa.Column("directory_platform_role", Words(32), nullable=True))
        people.add_column(sa.Column("time_zone", Words(64), nullable=True))
        people.add_column(sa.Column("signed_in_at", UtcTime(), nullable=True))
        people.create_unique_constraint(op.f("uq_people_directory_id"), ["directory_id"])
    op.execute("UPDATE people SET platform_role = 'administrator' WHERE administrator")
    with op.batch_alter_table("people") as people:
        people.drop_column("administrator")
    with op.batch_alter_table("memberships") as memberships:
        memberships.alter_column("role", existing_type=Words(32), nullable=True)
        memberships.add_column(sa.Column("directory_role", Words(32), nullable=True))
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(sa.Column("capabilities", Words(), nullable=True))
    with op.batch_alter_table("audit") as audit:
        audit.add_column(sa.Column("person", Words(64), nullable=False, server_default=""))
        audit.add_column(sa.Column("tenant", Words(63), nullable=False, server_default=""))
        audit.add_column(sa.Column("token_id", Whole, nullable=True))
        audit.add_column(sa.Column("address", Words(64), nullable=False, server_default=""))
        audit.add_column(sa.Column("refused", Words(64), nullable=False, server_default=""))
        audit.add_column(sa.Column("hash", Words(64), nullable=False, server_default=""))


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
