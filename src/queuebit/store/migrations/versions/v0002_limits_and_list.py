"""Jobs have limits; those in job mode lie in order of their own, for the list of workloads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

ALONE = sa.text("workload_id IS NULL")


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
