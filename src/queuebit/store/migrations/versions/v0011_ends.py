"""Jobs and workloads are found by when they ended, whosever they are; charges have a table."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """From 0010, where they were found by instance."""
    op.drop_index("ix_jobs_charged", "jobs")
    op.drop_index("ix_deleted_jobs_charged", "deleted_jobs")
    op.drop_index("ix_workloads_closed", "workloads")
    op.create_index("ix_deleted_jobs_ended", "deleted_jobs", ["ended_at"])
    for name, table, column in (
        ("ix_jobs_ended", "jobs", "ended_at"),
        ("ix_workloads_ended", "workloads", "closed_at"),
    ):
        has_ended = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, table, [column], sqlite_where=has_ended, postgresql_where=has_ended)
