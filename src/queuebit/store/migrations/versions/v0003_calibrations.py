"""What calibrations drew, when the running one began, and when each has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From 0002, where no calibration drew anything."""
    op.add_column("backends", sa.Column("calibrating_since", sa.BigInteger()))
    op.add_column(
        "backends",
        sa.Column("drawn", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.add_column(
        "backends", sa.Column("drift", sa.Double(), nullable=False, server_default=sa.text("0"))
    )
    op.create_table(
        "calibrations",
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("drawn", sa.BigInteger(), nullable=False),
        sa.Column("drift", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("backend", "at", name="pk_calibrations"),
    )
    op.execute(
        "INSERT INTO calibrations (backend, at, drawn, drift) "
        "SELECT id, calibrated_at, 0, 0 FROM backends WHERE calibrated_at IS NOT NULL"
    )
