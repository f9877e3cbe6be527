"""Tenants with settings, requests to join, servers, mappings of the directory, shares, and the erasing of a tenant."""

import sqlalchemy as sa
from alembic import op

from kqi_hub.db.base import UtcTime, Whole, Words

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
# What everybody knows; an administrator may change or remove them.
_KNOWN = (
    ("git", "github", "github", "https://github.com"),
    ("git", "gitlab", "gitlab.com", "https://gitlab.com"),
    ("registry", "docker-hub", "docker-hub", "https://docker.io"),
    ("registry", "ngc", "ngc", "https://nvcr.io"),
)


def upgrade() -> None:
    with op.batch_alter_table("tenants") as tenants:
        tenants.add_column(sa.Column("description", Words(4096), nullable=False, server_default=""))
        tenants.add_column(sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.true()))
        tenants.add_column(sa.Column("archived_at", UtcTime(), nullable=True))
        tenants.add_column(sa.Column("created_by", Whole, nullable=True))
        tenants.add_column(sa.Column("expand", Words(), nullable=False, server_default="{}"))
        tenants.add_column(sa.Column("nodes", Words(), nullable=False, server_default="[]"))
        tenants.create_foreign_key(op.f("fk_tenants_created_by"), "people", ["created_by"], ["id"], ondelete="SET NULL")
    op.create_table(
        "join_requests",
        sa.Column("person_id", Whole, nullable=False),
        sa.Column("tenant_id", Whole, nullable=False),
        sa.Column("message", Words(1024), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_join_requests_person_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_join_requests_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person_id", "tenant_id", name=op.f("pk_join_requests")),
    )
    op.create_index(op.f("ix_join_requests_tenant_id"), "join_requests", ["tenant_id"])
    op.create_table(
        "servers",
        sa.Column("id", Whole, nullable=False),
        sa.Column("use", Words(16), nullable=False),
        sa.Column("name", Words(63), nullable=False),
        sa.Column("kind", Words(16), nullable=False),
        sa.Column("url", Words(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
        sa.UniqueConstraint("use", "name", name=op.f("uq_servers_use_name")),
    )
    for use, name, kind, url in _KNOWN:
        row = sa.table("servers", *(sa.column(column, sa.String()) for column in ("use", "name", "kind", "url")))
        op.execute(row.insert().values(use=use, name=name, kind=kind, url=url))
    op.create_table(
        "tenant_servers",
        sa.Column("tenant_id", Whole, nullable=False),
        sa.Column("server_id", Whole, nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_servers_tenant_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["server_id"], ["servers.id"], name=op.f("fk_tenant_servers_server_id")),
        sa.PrimaryKeyConstraint("tenant_id", "server_id", name=op.f("pk_tenant_servers")),
    )
    op.create_index(op.f("ix_tenant_servers_server_id"), "tenant_servers", ["server_id"])
    op.create_table(
        "mappings",
        sa.Column("id", Whole, nullable=False),
        sa.Column("kind", Words(16), nullable=False),
        sa.Column("value", Words(1024), nullable=False),
        sa.Column("tenant_id", Whole, nullable=True),
        sa.Column("role", Words(32), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_mappings_tenant_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mappings")),
    )
    op.create_table(
        "shares",
        sa.Column("id", Whole, nullable=False),
        sa.Column("tenant_id", Whole, nullable=False),
        sa.Column("kind", Words(16), nullable=False),
        sa.Column("object_id", Whole, nullable=False),
        sa.Column("person_id", Whole, nullable=True),
        sa.Column("group_id", Whole, nullable=True),
        sa.Column("access", Words(8), nullable=False),
        sa.Column("created_by", Whole, nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_shares_tenant_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_shares_person_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["group_id"], ["tenants.id"], name=op.f("fk_shares_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by"], ["people.id"], name=op.f("fk_shares_created_by"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
    )
    op.create_index("ix_shares_object", "shares", ["kind", "object_id"])
    for column in ("tenant_id", "person_id", "group_id"):
        op.create_index(op.f(f"ix_shares_{column}"), "shares", [column])
    op.create_table(
        "erasures",
        sa.Column("id", Whole, nullable=False),
        sa.Column("tenant_id", Whole, nullable=False),
        sa.Column("tenant", Words(63), nullable=False),
        sa.Column("asked_by", Whole, nullable=True),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("counts", Words(), nullable=False),
        sa.Column("leftovers", Words(), nullable=False),
        sa.ForeignKeyConstraint(["asked_by"], ["people.id"], name=op.f("fk_erasures_asked_by"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_tenant_id"), "erasures", ["tenant_id"])


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
