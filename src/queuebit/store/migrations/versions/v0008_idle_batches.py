"""Whether a batch is closed when it has idled too long."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """From 0007, where no batch was."""
    op.add_column(
        "workloads",
        sa.Column("ends_idle", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
