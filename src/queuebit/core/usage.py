"""What was used, and what it costs: one model for estimates and for charges (decisions 4, 8)."""

import math
from collections.abc import Iterable

from queuebit.core.model import Job, Mode, Stage, Workload, WorkloadState

# "a sub-job overhead (~2 s each)": Estimate job run time, 2026-09.
OVERHEAD_MS = 2_000
# FAQ: two jobs of 40 circuits of 100x100 cost six seconds more than one job of 80. With an overhead
# of 2 + k*sqrt(circuits*qubits*depth) seconds: 2 + k*(2*sqrt(400_000) - sqrt(800_000)) = 6.
OVERHEAD_GROWTH_MS = 4_000 / (2 * math.sqrt(400_000) - math.sqrt(800_000))


def overhead_ms(*, circuits: int, qubits: int, depth: int) -> int:
    """QPU time that a job costs beside its circuits' own, in milliseconds.

    `qubits` and `depth` are the means over its circuits.
    """
    return OVERHEAD_MS + round(OVERHEAD_GROWTH_MS * math.sqrt(circuits * qubits * depth))


def qpu_ms(*, overhead_ms: int, runs: Iterable[tuple[float, int]]) -> int:
    """QPU time of a job in milliseconds, rounded up.

    `runs` holds, per circuit, the seconds that one shot takes (repetition delay included) and
    the number of shots: "(rep_delay + circuit length) x executions" (semantics 5.3).
    """
    return overhead_ms + math.ceil(1_000 * math.fsum(seconds * shots for seconds, shots in runs))


def charged_when_stopped(job: Job, now: int) -> int:
    """QPU time charged to a job that its user stopped or broke, in milliseconds (decisions 4).

    What the QPU had spent by then, with its preparation, and never more than the job was to take or
    may take; 0 if it never had the QPU.
    """
    if job.quantum_started_at is None:
        return 0
    if job.stage is not Stage.QUANTUM:  # it has left the QPU, and what it used is known
        return job.usage_ms
    spent_ms = OVERHEAD_MS + now - job.quantum_started_at
    return min(ms for ms in (spent_ms, job.estimated_ms, job.limit_ms) if ms is not None)


def workload_usage_ms(workload: Workload, now: int) -> int:
    """QPU time of a batch (its jobs') or of a session (its own time), in milliseconds.

    A session's own time is the wall clock while it is active, and by what the QPU time of its jobs
    exceeds the real time that they took (decisions, session clock). FAQ, "Is compilation time
    counted as usage": it starts with the session's first job and ends when the session goes
    inactive, is closed, or its last job completes, whichever happens last.
    """
    if workload.mode is Mode.BATCH:
        return workload.jobs_ms
    return active_ms(workload, now) + workload.modelled_ms


def beyond_real_ms(session: Workload, job: Job, usage_ms: int, at: int) -> int:
    """By how much a session's own time goes on when a job of it ends, in milliseconds.

    A simulation may take less time than the QPU would have: the rest passes at once. Where jobs
    share the QPU, what is left uncovered passes too, so that a session has never used less QPU time
    than its jobs.
    """
    if not usage_ms or job.quantum_started_at is None:
        return 0
    left_at = at if job.quantum_ended_at is None else job.quantum_ended_at
    uncovered_ms = session.jobs_ms + usage_ms - workload_usage_ms(session, at)
    return max(0, usage_ms - (left_at - job.quantum_started_at), uncovered_ms)


def active_ms(workload: Workload, now: int) -> int:
    """Wall clock in all active windows so far, in milliseconds."""
    return workload.active_ms + active_now_ms(workload, now)


def active_now_ms(workload: Workload, now: int) -> int:
    """Length of the active window that is going on, in milliseconds; 0 if none is."""
    if workload.state is not WorkloadState.ACTIVE or workload.activated_at is None:
        return 0
    return max(0, now - workload.activated_at)  # a reader's clock may be a moment behind
