"""Every move that a job or workload may make, as tables, and the gates that enforce them.

What is not in a table does not happen. docs/states.md is drawn from the tables.
"""

from dataclasses import replace
from typing import Any

from queuebit.core.events import JobSubmitted, WorkloadOpened
from queuebit.core.model import Job, JobStatus, Mode, Reason, Stage, Workload, WorkloadState

JOB_MOVES = frozenset(
    {
        (JobStatus.QUEUED, JobStatus.RUNNING),  # a lane is free and it is next
        (JobStatus.QUEUED, JobStatus.CANCELLED),  # by its user, or with its workload
        (JobStatus.QUEUED, JobStatus.FAILED),  # its workload reached the max TTL
        (JobStatus.RUNNING, JobStatus.COMPLETED),
        (JobStatus.RUNNING, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.CANCELLED),
    }
)

STAGE_MOVES = frozenset(
    {
        (None, Stage.PREPARE),  # started
        (Stage.PREPARE, Stage.READY),  # prepared
        (Stage.READY, Stage.QUANTUM),  # the QPU is its
        (Stage.QUANTUM, Stage.FINISH),  # measured
        (Stage.PREPARE, None),  # ended, in whatever stage
        (Stage.READY, None),
        (Stage.QUANTUM, None),
        (Stage.FINISH, None),
        (Stage.PREPARE, Stage.PREPARE),  # the service restarted (decisions 23)
        (Stage.READY, Stage.PREPARE),
        (Stage.QUANTUM, Stage.PREPARE),
        (Stage.FINISH, Stage.PREPARE),
    }
)

WORKLOAD_MOVES = frozenset(
    {
        (WorkloadState.OPEN, WorkloadState.ACTIVE),  # its first job starts
        (WorkloadState.OPEN, WorkloadState.CLOSED),  # closed, cancelled or never used
        (WorkloadState.ACTIVE, WorkloadState.INACTIVE),  # interactive TTL
        (WorkloadState.ACTIVE, WorkloadState.CLOSED),  # accepts nothing and has nothing left
        (WorkloadState.INACTIVE, WorkloadState.ACTIVE),  # a job came through the normal queue
        (WorkloadState.INACTIVE, WorkloadState.CLOSED),  # closed, cancelled or max TTL
    }
)


def _check_status(job: Job, to: JobStatus) -> None:
    assert (job.status, to) in JOB_MOVES, f"{job.id}: {job.status} -> {to}"


def _check_stage(job: Job, to: Stage | None) -> None:
    assert (job.stage, to) in STAGE_MOVES, f"{job.id}: {job.stage} -> {to}"


def started(job: Job, at: int) -> Job:
    """`job` in a lane, in the first stage of its next run."""
    _check_status(job, JobStatus.RUNNING)
    _check_stage(job, Stage.PREPARE)
    run = job.run + 1
    return replace(job, status=JobStatus.RUNNING, stage=Stage.PREPARE, run=run, started_at=at)


def ended(job: Job, to: JobStatus, at: int, *, usage_ms: int, reason: Reason | None) -> Job:
    """`job` with its last status, in no stage."""
    _check_status(job, to)
    if job.stage is not None:
        _check_stage(job, None)
    return replace(job, status=to, stage=None, ended_at=at, usage_ms=usage_ms, reason=reason)


def to_stage(job: Job, to: Stage | None, **changes: Any) -> Job:
    """`job` in another stage, and what changes with it: each copy takes time."""
    _check_stage(job, to)
    return replace(job, stage=to, **changes)


def to_state(workload: Workload, to: WorkloadState, at: int, why: str) -> Workload:
    """`workload` in another state, with what that brings: timestamps, its active window, its drain.

    The first reason for which it stopped accepting jobs stands to the end.
    """
    assert (workload.state, to) in WORKLOAD_MOVES, f"{workload.id}: {workload.state} -> {to}"
    active_ms = workload.active_ms
    if workload.state is WorkloadState.ACTIVE:
        assert workload.activated_at is not None
        active_ms += at - workload.activated_at
    moved = replace(
        workload,
        state=to,
        state_reason=why if workload.accepting_jobs else workload.state_reason,
        active_ms=active_ms,
        drain_seq=None,
        transitions=(*workload.transitions, (to, at)),
    )
    match to:
        case WorkloadState.ACTIVE:
            started_at = at if workload.started_at is None else workload.started_at
            return replace(moved, started_at=started_at, activated_at=at)
        case WorkloadState.INACTIVE:
            return replace(moved, idle_since=None)
        case WorkloadState.CLOSED:
            return replace(moved, idle_since=None, closed_at=at)
        case WorkloadState.OPEN:  # pragma: no cover - not in the table
            raise AssertionError("no workload opens twice")


def submitted(event: JobSubmitted, seq: int, now: int, budget_ms: int) -> Job:
    """A new job, for which so much QPU time is reserved."""
    return Job(
        id=event.job_id,
        seq=seq,
        instance=event.instance,
        user=event.user,
        backend=event.backend,
        workload_id=event.workload_id,
        created_at=now,
        budget_ms=budget_ms,
        limit_ms=event.limit_ms,
        estimated_ms=event.estimated_ms,
    )


def opened(event: WorkloadOpened, seq: int, now: int) -> Workload:
    """A new batch or session."""
    return Workload(
        id=event.workload_id,
        seq=seq,
        instance=event.instance,
        backend=event.backend,
        mode=event.mode,
        created_at=now,
        max_ttl_ms=event.max_ttl_ms,
        interactive_ttl_ms=event.interactive_ttl_ms,
        active_ttl_ms=event.active_ttl_ms,
        unused_ttl_ms=event.unused_ttl_ms,
        ends_idle=event.ends_idle and event.mode is Mode.BATCH,
        idle_since=now,
        transitions=((WorkloadState.OPEN, now),),
    )


def interrupted(session: Workload, left_at: int, back_at: int | None) -> Workload:
    """An active session whose window ended with the service, and begins anew if it is `back_at`.

    decisions 23: nobody is charged for time in which the QPU was not there.
    """
    away = to_state(session, WorkloadState.INACTIVE, left_at, "service_down")
    if back_at is None:
        return away
    back = to_state(away, WorkloadState.ACTIVE, back_at, "service_back")
    return replace(back, idle_since=session.idle_since)


def begun_again(job: Job) -> Job:
    """A running job, from the beginning, with nothing charged yet (decisions 23)."""
    return replace(
        to_stage(job, Stage.PREPARE),
        run=job.run + 1,
        usage_ms=0,
        ready_at=None,
        quantum_started_at=None,
        quantum_ended_at=None,
    )
