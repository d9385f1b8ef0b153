"""The way from any earlier database to the tables that `store.tables` declares.

`versions/` holds one file a step. A new step: change `tables.py`, add a file whose `down_revision`
is the newest one's `revision`; tests/store/test_migrations.py fails until both give the same.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from queuebit.errors import ConfigError

# Any number: the same for all who migrate, so that one does it while the others wait.
_LOCK = 7_301_452


def migrate(connection: sa.Connection, to: str = "head") -> None:
    """Bring the database to the newest tables, all or nothing: `connection` is in a transaction.

    `to` is an older step where a test begins with one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present == script.get_current_head():
        return
    if present is None and sa.inspect(connection).has_table("jobs"):
        raise ConfigError(
            "the database has tables of Queuebit, but its table alembic_version is empty: it is"
            " damaged; restore it from a backup"
        )
    if present is not None and present not in {step.revision for step in script.walk_revisions()}:
        raise ConfigError(
            f"the database is at step {present!r}, which this Queuebit does not know:"
            " a newer one has used it; install that one, or use another database"
        )
    command.upgrade(config, to)
