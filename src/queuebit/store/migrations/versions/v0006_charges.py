"""What was charged to whom, as the scheduler decided; and the time that simulations spared."""

from itertools import pairwise

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """From 0005, where charges were looked up in jobs and in the windows of sessions."""
    op.add_column(
        "workloads",
        sa.Column("modelled_ms", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "charges",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "at", name="pk_charges"),
    )
    op.create_index("ix_charges_instance", "charges", ["instance", "at"])
    _charge_jobs()
    _charge_sessions()


workloads = sa.table(
    "workloads",
    *(sa.column(name, sa.Text()) for name in ("id", "instance", "mode")),
    sa.column("transitions", JSON),
)
charges = sa.table("charges", *map(sa.column, ("source", "at", "instance", "ms")))


def _charge_jobs() -> None:
    """For each job in job mode or in a batch that has ended."""
    for name in ("jobs", "deleted_jobs"):
        names = ("id", "ended_at", "instance", "usage_ms", "workload_id")
        jobs = sa.table(name, *map(sa.column, names))
        in_session = sa.exists().where(
            workloads.c.id == jobs.c.workload_id, workloads.c.mode == "dedicated"
        )
        ended = sa.select(jobs.c.id, jobs.c.ended_at, jobs.c.instance, jobs.c.usage_ms).where(
            jobs.c.ended_at.is_not(None), jobs.c.usage_ms > 0, ~in_session
        )
        op.execute(sa.insert(charges).from_select(["source", "at", "instance", "ms"], ended))


def _charge_sessions() -> None:
    """For each active window that has ended."""
    sessions = sa.select(workloads).where(workloads.c.mode == "dedicated")
    rows = [
        {"source": session.id, "at": ended, "instance": session.instance, "ms": ended - began}
        for session in op.get_bind().execute(sessions).all()
        for (state, began), (_, ended) in pairwise(session.transitions)
        if state == "active" and ended > began
    ]
    if rows:
        op.bulk_insert(charges, rows)
