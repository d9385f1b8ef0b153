"""Users, keys, instances and roles; of deleted jobs, what analytics count."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """From 0003."""
    op.add_column("deleted_jobs", sa.Column("backend", sa.Text()))
    op.add_column("deleted_jobs", sa.Column("user", sa.Text()))
    op.add_column("deleted_jobs", sa.Column("created_at", sa.BigInteger()))
    op.add_column("deleted_jobs", sa.Column("started_at", sa.BigInteger()))
    op.create_table(
        "instances",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("allocation_s", sa.Double(), nullable=False),
        sa.Column("limit_s", sa.Double()),
        sa.Column("since", sa.BigInteger()),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_instances"),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name="fk_keys_user", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_digest", "keys", ["digest"], unique=True)
    op.create_table(
        "grants",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user"], ["users.name"], name="fk_grants_user", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["instance"], ["instances.name"], name="fk_grants_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user", "instance", name="pk_grants"),
    )
