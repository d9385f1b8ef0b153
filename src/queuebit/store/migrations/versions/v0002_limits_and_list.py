"""Jobs have limits, backends a state; lists of workloads and of waits have indexes of their own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

ALONE = sa.text("workload_id IS NULL")
STARTED = sa.text("started_at IS NOT NULL")


def upgrade() -> None:
    """From 0001."""
    op.add_column("jobs", sa.Column("limit_ms", sa.BigInteger()))
    op.create_table(
        "backends",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("scheduled", JSON, nullable=False),
        sa.Column("due", JSON, nullable=False),
        sa.Column("calibrating", sa.Text()),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("calibrated_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_backends"),
    )
    op.create_index(
        "ix_jobs_alone",
        "jobs",
        ["instance", "created_at", "seq"],
        sqlite_where=ALONE,
        postgresql_where=ALONE,
    )
    op.create_index(
        "ix_jobs_started",
        "jobs",
        ["backend", "started_at"],
        sqlite_where=STARTED,
        postgresql_where=STARTED,
    )
