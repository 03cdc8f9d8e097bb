"""What Alembic runs: on the connection it is given, inside the transaction that is already open."""

from alembic import context

from service.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
    transactional_ddl=True,  # SQLite's DDL is, once the driver does not interfere
)
with context.begin_transaction():
    context.run_migrations()
