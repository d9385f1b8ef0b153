"""Instances and users have ids that are never used again; keys know which key they were made with.

The four tables are small, so they are read, dropped and made again: SQLite cannot change a key.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_EXISTS = sa.text("removed_at IS NULL")


def upgrade() -> None:
    """From 0006."""
    rows = {name: _read(name) for name in ("instances", "users", "keys", "grants")}
    for name in ("grants", "keys", "users", "instances"):
        op.drop_table(name)
    instances = op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("allocation_s", sa.Double(), nullable=False),
        sa.Column("limit_s", sa.Double()),
        sa.Column("since", sa.BigInteger()),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
    )
    users = op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    for name in ("instances", "users"):
        op.create_index(
            f"ix_{name}_name",
            name,
            ["name"],
            unique=True,
            sqlite_where=_EXISTS,
            postgresql_where=_EXISTS,
        )
    keys = op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("made_with", sa.Text()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_keys_user"),
        sa.ForeignKeyConstraint(
            ["made_with"], ["keys.id"], name="fk_keys_made_with", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_digest", "keys", ["digest"], unique=True)
    grants = op.create_table(
        "grants",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name="fk_grants_user"),
        sa.ForeignKeyConstraint(["instance"], ["instances.id"], name="fk_grants_instance"),
        sa.PrimaryKeyConstraint("user", "instance", name="pk_grants"),
    )
    # Records name instances and users by what was their name: that is their id now.
    seen = {name: _seen_in_jobs(name) for name in ("instance", "user")}
    now = max([0, *(last for one in seen.values() for _, last in one.values())])
    op.bulk_insert(
        instances,
        [
            {
                **row,
                "id": row["name"],
                "created_at": seen["instance"].get(row["name"], (now, now))[0],
                "removed_at": None,
            }
            for row in rows["instances"]
        ]
        + [
            {"id": name, "name": name, "plan": "", "account": "", "tags": [], "allocation_s": 0}
            | {"limit_s": None, "since": None, "declared": False}
            | {"created_at": first, "removed_at": last}
            for name, (first, last) in seen["instance"].items()
            if name not in _names(rows["instances"])
        ],
    )
    op.bulk_insert(
        users,
        [{**row, "id": row["name"], "removed_at": None} for row in rows["users"]]
        + [
            {"id": name, "name": name, "admin": False, "declared": False}
            | {"created_at": first, "removed_at": last}
            for name, (first, last) in seen["user"].items()
            if name not in _names(rows["users"])
        ],
    )
    op.bulk_insert(keys, rows["keys"])
    op.bulk_insert(grants, rows["grants"])


def _seen_in_jobs(column: str) -> dict[str, tuple[int, int]]:
    """When each instance or user submitted its first and last job: removed ones left no row."""
    table = sa.table("jobs", sa.column(column), sa.column("created_at"))
    name, at = table.c[column], table.c.created_at
    query = sa.select(name, sa.func.min(at), sa.func.max(at)).group_by(name)
    return {name: (first, last) for name, first, last in op.get_bind().execute(query)}


def _names(rows: list[dict[str, Any]]) -> set[str]:
    return {row["name"] for row in rows}


def _read(name: str) -> list[dict[str, Any]]:
    columns = [sa.column("tags", JSON)] if name == "instances" else []
    columns += [sa.column(one) for one in _COLUMNS[name]]
    table = sa.table(name, *columns)
    return [dict(row) for row in op.get_bind().execute(sa.select(table)).mappings()]


_COLUMNS = {
    "instances": ("name", "plan", "account", "allocation_s", "limit_s", "since", "declared"),
    "users": ("name", "admin", "declared", "created_at"),
    "keys": ("id", "user", "label", "digest", "declared", "created_at"),
    "grants": ("user", "instance", "role", "declared"),
}
