"""Who is next, and when time is up: pure functions of records."""

from queuebit.core.events import JobSubmitted, Refusal, Rule
from queuebit.core.model import Instance, Job, Mode, OnLimit, Stage, Workload, WorkloadState


def queue_order(job: Job) -> int:
    """Place among the jobs of one instance in the normal queue: oldest first (semantics 2.2)."""
    return job.seq


def fair_order(share: float, first: Job) -> tuple[float, int, str]:
    """Place of an instance in the normal queue (semantics 2.2, decisions 15).

    `share` is what it has used of its allocation; `first` its first job. Least share first, then
    the oldest job.
    """
    return (share, queue_order(first), first.instance)


def priority_order(batch: Workload, job: Job) -> tuple[int, int, int]:
    """Place among jobs of active batches: by activation, then oldest first (decisions 13, 14)."""
    assert batch.activated_at is not None
    return (batch.activated_at, batch.seq, job.seq)


def qpu_order(job: Job, workload: Workload | None) -> tuple[int, int, int]:
    """Place among the jobs ready for the QPU: session, batches, the rest; first ready first.

    docs/architecture.md, decisions 14: "first ready first onto the QPU".
    """
    assert job.ready_at is not None
    rank = 2 if workload is None else 1 if workload.mode is Mode.BATCH else 0
    return (rank, job.ready_at, job.seq)


def is_held_by_drain(job: Job, drain_seq: int) -> bool:
    """Whether a job of an active batch came after a session had become next in line.

    decisions 12: only what active batches had queued before that moment still starts.
    """
    return job.seq > drain_seq


def max_ttl_at(workload: Workload, *, has_queued: bool) -> int | None:
    """When the max TTL ends, as long as its end still changes something (semantics 3.1).

    From the start of the first job; "never stops or pauses", also while inactive or closed to new
    jobs.
    """
    if workload.started_at is None or not (workload.accepting_jobs or has_queued):
        return None
    return _on_wall_clock(workload, workload.started_at + workload.max_ttl_ms)


def active_ttl_at(workload: Workload, *, has_queued: bool) -> int | None:
    """When the active TTL is used up; counts all active time, not renewed (decisions 19)."""
    if workload.state is not WorkloadState.ACTIVE or not (workload.accepting_jobs or has_queued):
        return None
    assert workload.activated_at is not None
    ends_at = workload.activated_at + workload.active_ttl_ms - workload.active_ms
    return _on_wall_clock(workload, ends_at)


def _on_wall_clock(workload: Workload, at: int) -> int:
    """When the workload's own clock, which modelled QPU time sets forward, shows `at`.

    Not before the end of the job that set it there (decisions, session clock).
    """
    if not workload.modelled_ms:
        return at
    assert workload.last_job_completed_at is not None
    return max(at - workload.modelled_ms, workload.last_job_completed_at)


def idle_ttl_at(workload: Workload) -> int | None:
    """When the workload has idled too long: interactive TTL, or never used (semantics 3.2, 3.4)."""
    if workload.idle_since is None:
        return None
    if workload.state is WorkloadState.OPEN:
        return workload.idle_since + workload.unused_ttl_ms
    assert workload.state is WorkloadState.ACTIVE
    return workload.idle_since + workload.interactive_ttl_ms


def over_away_at(workload: Workload, *, has_queued: bool) -> int | None:
    """When time ends the window of an active workload of which nothing runs.

    That of its active TTL does not, for it counts active time only (decisions 19, 23).
    """
    instants = (max_ttl_at(workload, has_queued=has_queued), idle_ttl_at(workload))
    return min((at for at in instants if at is not None), default=None)


def deadline(workload: Workload, *, has_queued: bool) -> int | None:
    """The earliest instant at which time alone changes the workload; None if it never does."""
    instants = (
        max_ttl_at(workload, has_queued=has_queued),
        active_ttl_at(workload, has_queued=has_queued),
        idle_ttl_at(workload),
    )
    return min((at for at in instants if at is not None), default=None)


def job_limit_at(job: Job) -> int | None:
    """When a job on the QPU has had all that it may; None if it will not come to that.

    Counts QPU time only (semantics 3.5). A simulation may last longer than the QPU would have, so
    only a job that is expected to exceed its limit is watched.
    """
    if job.stage is not Stage.QUANTUM or job.limit_ms is None or job.estimated_ms is None:
        return None
    if job.estimated_ms <= job.limit_ms:
        return None
    assert job.quantum_started_at is not None
    return job.quantum_started_at + job.limit_ms


def not_of(workload: Workload, event: JobSubmitted) -> Refusal | None:
    """Why a workload does not take a job; None if it does (decisions 17, 18)."""
    if not workload.accepting_jobs:
        return Refusal(Rule.WORKLOAD_CLOSED, f"Session {workload.id} is closed.")
    if workload.instance != event.instance:
        return Refusal(Rule.WRONG_INSTANCE, f"Session {workload.id} belongs to another instance.")
    if workload.backend != event.backend:
        return Refusal(
            Rule.WRONG_BACKEND,
            f"The job's backend {event.backend} is not {workload.backend}, "
            f"the backend of session {workload.id}.",
        )
    return None


def over_limit(instance: Instance, *, is_limited: bool, pending: int) -> Refusal | None:
    """Why an instance may submit nothing now; None if it may (semantics 5.5, 6.2).

    `is_limited`: it has used all that it may; `pending`: its jobs queued or running.
    """
    if is_limited and instance.on_limit is OnLimit.STOP:
        return Refusal(Rule.USAGE_LIMIT, "Usage exceeds instance limit.")
    if instance.pending_max is not None and pending >= instance.pending_max:
        return Refusal(
            Rule.PENDING_LIMIT,
            f"The instance has {pending} pending jobs; its limit is {instance.pending_max}.",
        )
    return None
