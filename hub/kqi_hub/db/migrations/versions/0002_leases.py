"""Leases: what one process at a time may do."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import Whole, Words

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", Words(32), nullable=False),
        sa.Column("owner", Words(), nullable=False),
        sa.Column("beat", Whole, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
