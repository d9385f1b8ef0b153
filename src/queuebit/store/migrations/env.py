"""Alembic runs this file to carry out the steps; `migrate` hands it the connection."""

from alembic import context

from queuebit.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
with context.begin_transaction():
    context.run_migrations()
