"""The hash of a first password that goes to a directory with an exported application."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import Words

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("applications", sa.Column("password_hash", Words(255), nullable=False, server_default=""))


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
