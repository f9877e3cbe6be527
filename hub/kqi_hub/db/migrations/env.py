"""Alembic's entry: all that is missing in the transaction of the connection that is handed in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
