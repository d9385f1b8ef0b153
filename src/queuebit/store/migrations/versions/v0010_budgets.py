"""What is reserved for jobs, who used what inside an instance, and what was credited."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """From 0009, where nothing was reserved or credited."""
    for table, name in (("jobs", "budget_ms"), ("charges", "credited_ms")):
        zero = sa.text("0")
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default=zero))
    nobody = sa.text("''")
    op.add_column("charges", sa.Column("user", sa.Text(), nullable=False, server_default=nobody))
    charges = sa.table("charges", sa.column("source"), sa.column("user"))
    for name in ("jobs", "deleted_jobs"):
        jobs = sa.table(name, sa.column("id"), sa.column("user"))
        found = sa.select(jobs.c.user).where(jobs.c.id == charges.c.source)
        known = sa.exists().where(jobs.c.id == charges.c.source, jobs.c.user.is_not(None))
        op.execute(sa.update(charges).where(known).values(user=found.scalar_subquery()))
