"""Who is next, and when time is up: pure functions of records."""

from queuebit.core.model import Job, Mode, Workload, WorkloadState


def queue_order(job: Job) -> int:
    """Place in the normal queue: the smallest goes first.

    Oldest first. Fair share between instances by usage and allocation has its place here (issue 3).
    """
    return job.seq


def priority_order(batch: Workload, job: Job) -> tuple[int, int, int]:
    """Place among jobs of active batches: by activation, then oldest first (decisions 13, 14)."""
    assert batch.activated_at is not None
    return (batch.activated_at, batch.seq, job.seq)


def qpu_order(job: Job, workload: Workload | None) -> tuple[int, int, int]:
    """Place among the jobs ready for the QPU: session, batches, the rest; first ready first.

    design.md 3, decisions 14: "first ready first onto the QPU".
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

    Wall clock from the start of the first job; "never stops or pauses", also while inactive or
    closed to new jobs.
    """
    if workload.started_at is None or not (workload.accepting_jobs or has_queued):
        return None
    return workload.started_at + workload.max_ttl_ms


def idle_ttl_at(workload: Workload) -> int | None:
    """When the workload has idled too long: interactive TTL, or never used (semantics 3.2, 3.4)."""
    if workload.idle_since is None:
        return None
    if workload.state is WorkloadState.OPEN:
        return workload.idle_since + workload.unused_ttl_ms
    assert workload.state is WorkloadState.ACTIVE
    return workload.idle_since + workload.interactive_ttl_ms


def deadline(workload: Workload, *, has_queued: bool) -> int | None:
    """The earliest instant at which time alone changes the workload; None if it never does."""
    instants = (max_ttl_at(workload, has_queued=has_queued), idle_ttl_at(workload))
    return min((at for at in instants if at is not None), default=None)
