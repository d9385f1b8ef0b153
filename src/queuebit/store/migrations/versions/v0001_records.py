"""Jobs, their tags, batches and sessions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
WORD = sa.String(32)
UNFINISHED = sa.text("ended_at IS NULL")
OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    """From nothing."""
    _workloads()
    _jobs()
    _job_tags()
    _deleted_jobs()


def _workloads() -> None:
    op.create_table(
        "workloads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("mode", WORD, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("max_ttl_ms", sa.BigInteger(), nullable=False),
        sa.Column("interactive_ttl_ms", sa.BigInteger(), nullable=False),
        sa.Column("active_ttl_ms", sa.BigInteger(), nullable=False),
        sa.Column("unused_ttl_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("accepting_jobs", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("activated_at", sa.BigInteger()),
        sa.Column("closed_at", sa.BigInteger()),
        sa.Column("last_job_started_at", sa.BigInteger()),
        sa.Column("last_job_completed_at", sa.BigInteger()),
        sa.Column("idle_since", sa.BigInteger()),
        sa.Column("active_ms", sa.BigInteger(), nullable=False),
        sa.Column("jobs_ms", sa.BigInteger(), nullable=False),
        sa.Column("drain_seq", sa.BigInteger()),
        sa.Column("transitions", JSON, nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workloads"),
    )
    op.create_index("ix_workloads_seq", "workloads", ["seq"])
    op.create_index("ix_workloads_listed", "workloads", ["instance", "created_at", "seq"])
    op.create_index(
        "ix_workloads_open", "workloads", ["seq"], sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_index("ix_workloads_closed", "workloads", ["instance", "mode", "closed_at"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("workload_id", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("stage", WORD),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("estimated_ms", sa.BigInteger()),
        sa.Column("usage_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ready_at", sa.BigInteger()),
        sa.Column("quantum_started_at", sa.BigInteger()),
        sa.Column("quantum_ended_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("reason", JSON),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("cost_s", sa.BigInteger()),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("log_level", sa.Text()),
        sa.Column("runtime", sa.Text()),
        sa.Column("calibration_id", sa.Text()),
        sa.Column("caller", sa.Text()),
        sa.Column("qiskit_version", sa.Text()),
        sa.Column("metrics", JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_jobs_workload_id"),
    )
    op.create_index("ix_jobs_seq", "jobs", ["seq"])
    op.create_index("ix_jobs_listed", "jobs", ["instance", "created_at", "seq"])
    op.create_index("ix_jobs_of_workload", "jobs", ["workload_id", "created_at", "seq"])
    op.create_index("ix_jobs_charged", "jobs", ["instance", "ended_at"])
    op.create_index(
        "ix_jobs_pending",
        "jobs",
        ["instance", "created_at", "seq"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["backend", "status"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )


def _job_tags() -> None:
    op.create_table(
        "job_tags",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "position", name="pk_job_tags"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_tags_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_tags_tag", "job_tags", ["tag", "job_id"])


def _deleted_jobs() -> None:
    op.create_table(
        "deleted_jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("workload_id", sa.Text()),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("usage_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_jobs"),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_deleted_jobs_workload_id"
        ),
    )
    op.create_index("ix_deleted_jobs_seq", "deleted_jobs", ["seq"])
    op.create_index("ix_deleted_jobs_charged", "deleted_jobs", ["instance", "ended_at"])
