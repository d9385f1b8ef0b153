"""The tables, declared once; `migrations/` leads to them, and a test compares the two.

A column of a record has the name of the record's field, so rows and records need no mapping.
Times are milliseconds, as in the records.
"""

from dataclasses import fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from queuebit.core.model import (
    BackendState,
    BackendStatus,
    Calibrated,
    Charge,
    Job,
    JobStatus,
    Mode,
    Reason,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.store.details import JobDetails, WorkloadDetails

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class ReasonColumn(TypeDecorator[Reason]):
    """A reason as a JSON object; NULL: nothing to say."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Reason | None, dialect: sa.Dialect) -> Any:
        """From the record to JSON."""
        del dialect
        if value is None:
            return None
        return {
            "message": _storable(value.message),
            "code": value.code,
            "solution": _storable(value.solution),
        }

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Reason | None:
        """From JSON to the record."""
        del dialect
        return None if value is None else Reason(**value)


def _storable(text: str) -> str:
    """`text` without what databases refuse: it may quote what a user wrote."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class TransitionsColumn(TypeDecorator[tuple[tuple[WorkloadState, int], ...]]):
    """Every state that a workload took, and when, as JSON: `[["open", 1700000000000], ...]`."""

    impl = JSON
    cache_ok = True

    def process_bind_param(
        self, value: tuple[tuple[WorkloadState, int], ...] | None, dialect: sa.Dialect
    ) -> Any:
        """From the record to JSON."""
        del dialect
        return [[state.value, at] for state, at in value or ()]

    def process_result_value(
        self, value: Any, dialect: sa.Dialect
    ) -> tuple[tuple[WorkloadState, int], ...]:
        """From JSON to the record."""
        del dialect
        return tuple((WorkloadState(state), at) for state, at in value)


def _word(words: type[StrEnum]) -> TypeEngine[Any]:
    """A text column that holds the values of `words`; a new word needs no migration."""
    return sa.Enum(
        words,
        native_enum=False,
        length=32,
        values_callable=lambda enum: [word.value for word in enum],
    )


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

workloads = sa.Table(
    "workloads",
    metadata,
    # of the record, core.model.Workload
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("backend", sa.Text, nullable=False),
    sa.Column("mode", _word(Mode), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("max_ttl_ms", sa.BigInteger, nullable=False),
    sa.Column("interactive_ttl_ms", sa.BigInteger, nullable=False),
    sa.Column("active_ttl_ms", sa.BigInteger, nullable=False),
    sa.Column("unused_ttl_ms", sa.BigInteger, nullable=False),
    sa.Column("ends_idle", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("state", _word(WorkloadState), nullable=False),
    sa.Column("state_reason", sa.Text, nullable=False),
    sa.Column("accepting_jobs", sa.Boolean, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("activated_at", sa.BigInteger),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("last_job_started_at", sa.BigInteger),
    sa.Column("last_job_completed_at", sa.BigInteger),
    sa.Column("idle_since", sa.BigInteger),
    sa.Column("active_ms", sa.BigInteger, nullable=False),
    sa.Column("jobs_ms", sa.BigInteger, nullable=False),
    sa.Column("modelled_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("drain_seq", sa.BigInteger),
    sa.Column("transitions", TransitionsColumn, nullable=False),
    # of store.details.WorkloadDetails
    sa.Column("user", sa.Text, nullable=False),
)
sa.Index("ix_workloads_seq", workloads.c.seq)
sa.Index("ix_workloads_listed", workloads.c.instance, workloads.c.created_at, workloads.c.seq)
sa.Index(
    "ix_workloads_open",
    workloads.c.seq,
    sqlite_where=workloads.c.closed_at.is_(None),
    postgresql_where=workloads.c.closed_at.is_(None),
)
sa.Index(
    "ix_workloads_ended",
    workloads.c.closed_at,
    sqlite_where=workloads.c.closed_at.is_not(None),
    postgresql_where=workloads.c.closed_at.is_not(None),
)

jobs = sa.Table(
    "jobs",
    metadata,
    # of the record, core.model.Job
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("backend", sa.Text, nullable=False),
    sa.Column("workload_id", sa.Text, sa.ForeignKey(workloads.c.id)),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("status", _word(JobStatus), nullable=False),
    sa.Column("stage", _word(Stage)),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("limit_ms", sa.BigInteger),
    sa.Column("estimated_ms", sa.BigInteger),
    sa.Column("budget_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("usage_ms", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ready_at", sa.BigInteger),
    sa.Column("quantum_started_at", sa.BigInteger),
    sa.Column("quantum_ended_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("reason", ReasonColumn),
    # of store.details.JobDetails
    sa.Column("program_id", sa.Text, nullable=False),
    sa.Column("cost_s", sa.BigInteger),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("log_level", sa.Text),
    sa.Column("runtime", sa.Text),
    sa.Column("calibration_id", sa.Text),
    sa.Column("caller", sa.Text),
    sa.Column("qiskit_version", sa.Text),
    sa.Column("input_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # of neither
    sa.Column("metrics", JSON, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("result_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)
sa.Index("ix_jobs_seq", jobs.c.seq)
sa.Index("ix_jobs_listed", jobs.c.instance, jobs.c.created_at, jobs.c.seq)
sa.Index(
    "ix_jobs_alone",  # job mode
    jobs.c.instance,
    jobs.c.created_at,
    jobs.c.seq,
    sqlite_where=jobs.c.workload_id.is_(None),
    postgresql_where=jobs.c.workload_id.is_(None),
)
sa.Index("ix_jobs_of_workload", jobs.c.workload_id, jobs.c.created_at, jobs.c.seq)
sa.Index(
    "ix_jobs_ended",
    jobs.c.ended_at,
    sqlite_where=jobs.c.ended_at.is_not(None),
    postgresql_where=jobs.c.ended_at.is_not(None),
)
# Two that stay small however many jobs there have been: final ones leave them.
sa.Index(
    "ix_jobs_pending",
    jobs.c.instance,
    jobs.c.created_at,
    jobs.c.seq,
    sqlite_where=jobs.c.ended_at.is_(None),
    postgresql_where=jobs.c.ended_at.is_(None),
)
sa.Index(
    "ix_jobs_unfinished",
    jobs.c.backend,
    jobs.c.status,
    sqlite_where=jobs.c.ended_at.is_(None),
    postgresql_where=jobs.c.ended_at.is_(None),
)
sa.Index(
    "ix_jobs_started",  # how long those that started last have waited
    jobs.c.backend,
    jobs.c.started_at,
    sqlite_where=jobs.c.started_at.is_not(None),
    postgresql_where=jobs.c.started_at.is_not(None),
)

job_tags = sa.Table(
    "job_tags",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),  # in the user's order
    sa.Column("tag", sa.Text, nullable=False),
)
sa.Index("ix_job_tags_tag", job_tags.c.tag, job_tags.c.job_id)

# What instances were charged, core.model.Charge; whatever is told of usage is a sum of these.
charges = sa.Table(
    "charges",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("ms", sa.BigInteger, nullable=False),
    sa.Column("user", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("credited_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)
sa.Index("ix_charges_instance", charges.c.instance, charges.c.at)

# What must outlive a job that its user deletes: that its seq was given, and what analytics count.
deleted_jobs = sa.Table(
    "deleted_jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("workload_id", sa.Text, sa.ForeignKey(workloads.c.id)),
    sa.Column("ended_at", sa.BigInteger, nullable=False),
    sa.Column("usage_ms", sa.BigInteger, nullable=False),
    # for analytics; NULL of what was deleted before there were any
    sa.Column("backend", sa.Text),
    sa.Column("user", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("started_at", sa.BigInteger),
)
sa.Index("ix_deleted_jobs_seq", deleted_jobs.c.seq)
sa.Index("ix_deleted_jobs_ended", deleted_jobs.c.ended_at)

backends = sa.Table(
    "backends",
    metadata,
    # of the record, core.model.BackendState
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", _word(BackendStatus), nullable=False),
    sa.Column("status_reason", sa.Text, nullable=False),
    sa.Column("scheduled", JSON, nullable=False),
    sa.Column("due", JSON, nullable=False),
    sa.Column("calibrating", sa.Text),
    sa.Column("calibrating_since", sa.BigInteger),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("calibrated_at", sa.BigInteger),
    sa.Column("drawn", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("drift", sa.Double, nullable=False, server_default=sa.text("0")),
)

# How each calibration left its backend, core.model.Calibrated; kept for ever, 20 bytes each.
calibrations = sa.Table(
    "calibrations",
    metadata,
    sa.Column("backend", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("drawn", sa.BigInteger, nullable=False),
    sa.Column("drift", sa.Double, nullable=False),
)


def _names(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


JOB_RECORD = _names(Job)
JOB_DETAILS = tuple(name for name in _names(JobDetails) if name not in ("id", "tags", "submitted"))
BACKEND_RECORD = _names(BackendState)
CALIBRATED = _names(Calibrated)
CHARGE = _names(Charge)
WORKLOAD_RECORD = _names(Workload)
WORKLOAD_DETAILS = tuple(name for name in _names(WorkloadDetails) if name != "id")

# Fields that never change: an update that leaves them out leaves their indexes alone.
_FIXED = frozenset(
    {"id", "seq", "instance", "user", "backend", "workload_id", "mode", "created_at"}
)
JOB_CHANGES = tuple(name for name in JOB_RECORD if name not in _FIXED)
WORKLOAD_CHANGES = tuple(name for name in WORKLOAD_RECORD if name not in _FIXED)
