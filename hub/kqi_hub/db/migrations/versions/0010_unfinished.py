"""Data whose last files have not come yet; from where a program began to sign in."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import Words

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("data") as data:
        data.add_column(sa.Column("draft", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("address", Words(64), nullable=False, server_default=""))
        devices.create_index(devices.f("ix_devices_address"), ["address"])


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
