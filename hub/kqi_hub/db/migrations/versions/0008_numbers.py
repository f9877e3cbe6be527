"""Numbers of people, tenants and tokens that SQLite gives to nobody else once they are free."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
# Where the audit log knows their numbers, of those as well that are long gone.
_ON_RECORD = {"people": "person_id", "tenants": "tenant_id", "tokens": "token_id"}


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":  # a sequence of PostgreSQL only goes on
        return
    for table, column in _ON_RECORD.items():
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
        _begin_after(table, column)


def _begin_after(table: str, column: str) -> None:
    newest = [
        op.get_bind().scalar(sa.select(sa.func.max(sa.column(name))).select_from(sa.table(where)))
        for name, where in (("id", table), (column, "audit"))
    ]
    counts = sa.table("sqlite_sequence", sa.column("name", sa.String()), sa.column("seq", sa.Integer()))
    op.execute(counts.delete().where(counts.c.name == table))
    op.execute(counts.insert().values(name=table, seq=max(number or 0 for number in newest)))


def downgrade() -> None:
    raise RuntimeError("restore a backup instead")
