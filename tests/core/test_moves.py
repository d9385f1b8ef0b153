"""Every pair of states: what the tables allow moves, and nothing else does."""

from itertools import product

import pytest

from queuebit.core.model import Job, JobStatus, Mode, Stage, Workload, WorkloadState
from queuebit.core.moves import (
    JOB_MOVES,
    STAGE_MOVES,
    WORKLOAD_MOVES,
    ended,
    started,
    to_stage,
    to_state,
)

STAGES = (None, *Stage)


def job(status: JobStatus = JobStatus.RUNNING, stage: Stage | None = None) -> Job:
    return Job(id="a", seq=1, instance="i", backend="q", created_at=0, status=status, stage=stage)


def workload(state: WorkloadState, **fields: object) -> Workload:
    return Workload(
        id="w",
        seq=1,
        instance="i",
        backend="q",
        mode=Mode.BATCH,
        created_at=0,
        max_ttl_ms=1_000,
        interactive_ttl_ms=10,
        active_ttl_ms=1_000,
        unused_ttl_ms=100,
        state=state,
        transitions=((state, 0),),
        **({"activated_at": 0} | fields),
    )


@pytest.mark.parametrize(("from_", "to"), list(product(JobStatus, JobStatus)))
def test_a_job_takes_only_the_statuses_of_the_table(from_, to):
    if (from_, to) in JOB_MOVES:
        assert moved_to(job(from_), to).status is to
    else:
        with pytest.raises(AssertionError, match="a: "):
            moved_to(job(from_), to)


def moved_to(job: Job, to: JobStatus) -> Job:
    if to is JobStatus.RUNNING:
        return started(job, 5)
    return ended(job, to, 5, usage_ms=0, reason=None)


@pytest.mark.parametrize(("from_", "to"), list(product(STAGES, STAGES)))
def test_a_job_takes_only_the_stages_of_the_table(from_, to):
    if (from_, to) in STAGE_MOVES:
        assert to_stage(job(stage=from_), to) == job(stage=to)
    else:
        with pytest.raises(AssertionError, match="a: "):
            to_stage(job(stage=from_), to)


@pytest.mark.parametrize(("from_", "to"), list(product(WorkloadState, WorkloadState)))
def test_a_workload_takes_only_the_states_of_the_table(from_, to):
    if (from_, to) in WORKLOAD_MOVES:
        moved = to_state(workload(from_), to, 5, "why")

        assert moved.state is to
        assert moved.state_reason == "why"
        assert moved.transitions == ((from_, 0), (to, 5))
    else:
        with pytest.raises(AssertionError, match="w: "):
            to_state(workload(from_), to, 5, "why")


def test_the_tables_say_what_the_rules_say():
    """semantics 1.2 and 1.4, spelled out once more: a mistyped table is seen here."""
    assert {(str(a), str(b)) for a, b in JOB_MOVES} == {
        ("Queued", "Running"),
        ("Queued", "Cancelled"),
        ("Queued", "Failed"),
        ("Running", "Completed"),
        ("Running", "Failed"),
        ("Running", "Cancelled"),
    }
    assert {(str(a), str(b)) for a, b in WORKLOAD_MOVES} == {
        ("open", "active"),
        ("open", "closed"),
        ("active", "inactive"),
        ("active", "closed"),
        ("inactive", "active"),
        ("inactive", "closed"),
    }
    ways_of_a_stage = {(str(a), str(b)) for a, b in STAGE_MOVES if a is not None and b is not None}
    assert ways_of_a_stage == {
        ("prepare", "ready"),
        ("ready", "quantum"),
        ("quantum", "finish"),
        *((stage, "prepare") for stage in Stage),
    }


def test_first_activation_starts_the_clock_of_the_max_ttl():
    active = to_state(workload(WorkloadState.OPEN), WorkloadState.ACTIVE, 5, "why")
    inactive = to_state(active, WorkloadState.INACTIVE, 7, "why")
    again = to_state(inactive, WorkloadState.ACTIVE, 20, "why")

    assert (active.started_at, active.activated_at) == (5, 5)
    assert (again.started_at, again.activated_at) == (5, 20)


def test_active_windows_add_up():
    active = to_state(workload(WorkloadState.OPEN), WorkloadState.ACTIVE, 5, "why")
    inactive = to_state(active, WorkloadState.INACTIVE, 7, "why")
    again = to_state(inactive, WorkloadState.ACTIVE, 20, "why")
    closed = to_state(again, WorkloadState.CLOSED, 50, "why")

    assert [w.active_ms for w in (active, inactive, again, closed)] == [0, 2, 2, 32]
    assert closed.closed_at == 50


@pytest.mark.parametrize("to", [WorkloadState.INACTIVE, WorkloadState.CLOSED])
def test_what_is_not_active_does_not_idle(to):
    assert to_state(workload(WorkloadState.ACTIVE, idle_since=3), to, 5, "why").idle_since is None


@pytest.mark.parametrize(("from_", "to"), sorted(WORKLOAD_MOVES))
def test_who_changes_state_is_not_next_in_line(from_, to):
    assert to_state(workload(from_, drain_seq=3), to, 5, "why").drain_seq is None


def test_the_first_reason_to_stop_accepting_jobs_stands():
    draining = workload(WorkloadState.ACTIVE, accepting_jobs=False, state_reason="closed by user")

    assert to_state(draining, WorkloadState.CLOSED, 5, "why").state_reason == "closed by user"
