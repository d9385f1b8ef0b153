"""What must hold after every step, looked up the slow way from the records. For tests."""

from typing import Any

from queuebit.core import policy
from queuebit.core.model import (
    FINAL,
    BackendStatus,
    Job,
    JobStatus,
    Mode,
    Stage,
    WorkloadState,
)
from queuebit.core.queues import BackendQueues
from queuebit.core.scheduler import Scheduler


def check(scheduler: Scheduler, now: int) -> None:
    """Assert every invariant of a scheduler that has just handled an event at `now`."""
    _check_workloads(scheduler)
    for queues in scheduler.index.backends.values():
        _check_limits(scheduler, queues)
        _check_exclusivity(scheduler, queues)
        _check_drain(scheduler, queues)
        _check_fair_share(scheduler, queues)
        _check_calibration(scheduler, queues)
        _check_nothing_idles(scheduler, queues)
    due = scheduler.next_deadline()
    assert due is None or due > now, f"overdue at {now}: {due}"
    rebuilt = Scheduler(
        [queues.backend for queues in scheduler.index.backends.values()],
        [
            *scheduler.jobs.values(),
            *scheduler.workloads.values(),
            *scheduler.index.states.values(),
        ],
        instances=scheduler.ledger.instances.values(),
        charges=scheduler.ledger.charges(),
    )
    rebuilt.ledger.roll(now)
    assert picture(rebuilt) == picture(scheduler)


def picture(scheduler: Scheduler) -> dict[str, Any]:
    """All that decides what the scheduler will do next, without what is out of date."""
    index = scheduler.index
    return {
        "jobs": dict(index.jobs),
        "workloads": dict(index.workloads),
        "states": dict(index.states),
        "queued": {id_: list(line) for id_, line in index.queued.items()},
        "unfinished": dict(index.unfinished),
        "pending": {instance: n for instance, n in index.pending.items() if n},
        "used": {id_: scheduler.ledger.so_far_ms(id_) for id_ in scheduler.ledger.instances},
        "budgets": {
            (job.instance, job.user): scheduler.ledger.budget(job.instance, job.user)
            for job in index.jobs.values()
        },
        "deadline": scheduler.next_deadline(),
        "backends": {name: _lines(scheduler, queues) for name, queues in index.backends.items()},
    }


def _lines(scheduler: Scheduler, queues: BackendQueues) -> dict[str, Any]:
    jobs = scheduler.jobs

    def queued(job_id: str) -> bool:
        return job_id in jobs and jobs[job_id].status is JobStatus.QUEUED

    def active(job_id: str) -> bool:
        workload = scheduler.index.workload_of(jobs[job_id])
        return workload is not None and workload.state is WorkloadState.ACTIVE

    def ready(order: tuple[int, int, int], job_id: str) -> bool:
        job = jobs.get(job_id)
        if job is None or job.stage is not Stage.READY:
            return False
        return order == policy.qpu_order(job, scheduler.index.workload_of(job))

    return {
        "normal": sorted(
            {
                id_
                for line in queues.normal.values()
                for _, id_ in line
                if queued(id_) and not active(id_)
            }
        ),
        "first": scheduler.index.first_normal(queues),
        "priority": sorted({entry for entry in queues.priority if queued(entry[1])}),
        "held": sorted({id_ for id_ in queues.held if queued(id_)}),
        "ready": sorted({entry for entry in queues.ready if ready(*entry)}),
        "lanes": queues.lanes,
        "qpu": queues.qpu,
        "sessions": queues.sessions,
        "session": queues.session,
        "drain": queues.drain,
    }


def _jobs_on(scheduler: Scheduler, queues: BackendQueues) -> list[Job]:
    return [job for job in scheduler.jobs.values() if job.backend == queues.backend.name]


def _check_workloads(scheduler: Scheduler) -> None:
    for workload in scheduler.workloads.values():
        jobs = [job for job in scheduler.jobs.values() if job.workload_id == workload.id]
        running = [job for job in jobs if job.status is JobStatus.RUNNING]
        # What accepts nothing and has nothing left is closed, hence not here.
        assert workload.state is not WorkloadState.CLOSED
        assert workload.accepting_jobs or jobs
        assert all(job.backend == workload.backend for job in jobs)
        assert not running or workload.state is WorkloadState.ACTIVE
        idle = not jobs and workload.state is not WorkloadState.INACTIVE
        assert (workload.idle_since is not None) == idle
        assert (workload.started_at is None) == (workload.state is WorkloadState.OPEN)
        assert workload.transitions[-1][0] is workload.state
        assert scheduler.index.unfinished[workload.id] == len(jobs)
    for job in scheduler.jobs.values():
        assert job.status not in FINAL
        assert (job.stage is not None) == (job.status is JobStatus.RUNNING)
        # Closed workloads run and accept nothing.
        assert job.workload_id is None or job.workload_id in scheduler.workloads


def _check_limits(scheduler: Scheduler, queues: BackendQueues) -> None:
    running = {j.id for j in _jobs_on(scheduler, queues) if j.status is JobStatus.RUNNING}
    on_qpu = {j.id for j in _jobs_on(scheduler, queues) if j.stage is Stage.QUANTUM}
    assert queues.lanes == running
    assert queues.qpu == on_qpu
    assert len(on_qpu) <= queues.backend.qpu_slots
    # A backend taken out of the configuration has no lanes, but what ran on it is still there.
    assert len(running) <= queues.backend.lanes or not queues.backend.lanes


def _check_exclusivity(scheduler: Scheduler, queues: BackendQueues) -> None:
    """No other job is in a lane while a session is active (semantics 2.4)."""
    active = [
        workload.id
        for workload in scheduler.workloads.values()
        if workload.backend == queues.backend.name
        and workload.mode is Mode.SESSION
        and workload.state is WorkloadState.ACTIVE
    ]
    assert active == ([] if queues.session is None else [queues.session])
    if active:
        assert all(scheduler.jobs[job_id].workload_id == active[0] for job_id in queues.lanes)


def _check_drain(scheduler: Scheduler, queues: BackendQueues) -> None:
    """Who is next in line stands at the head of the normal queue (decisions 12)."""
    if queues.drain is None:
        return
    instance = scheduler.workloads[queues.drain].instance
    assert not scheduler.ledger.is_limited(instance)
    standing = [j for j in _standing(scheduler, queues) if j.instance == instance]
    assert min(standing, key=policy.queue_order).workload_id == queues.drain


def _check_fair_share(scheduler: Scheduler, queues: BackendQueues) -> None:
    """The head of the normal queue is the oldest job of who has the least share (semantics 2.2)."""
    ledger = scheduler.ledger
    first = min(
        (job for job in _standing(scheduler, queues) if not ledger.is_limited(job.instance)),
        key=lambda job: (ledger.share(job.instance), job.seq),
        default=None,
    )
    assert scheduler.index.first_normal(queues) == first


def _standing(scheduler: Scheduler, queues: BackendQueues) -> list[Job]:
    """Queued jobs that do not jump the queue."""
    return [
        job
        for job in _jobs_on(scheduler, queues)
        if job.status is JobStatus.QUEUED
        and (
            (workload := scheduler.index.workload_of(job)) is None
            or workload.state is not WorkloadState.ACTIVE
        )
    ]


def _check_calibration(scheduler: Scheduler, queues: BackendQueues) -> None:
    """A calibration has the QPU alone, and never while a session is active (decisions 6)."""
    state = scheduler.index.states[queues.backend.name]
    assert (state.calibrating is None) == (state.calibrating_since is None)
    assert 0 <= state.drawn <= state.run
    assert not state.drawn or state.calibrated_at is not None
    if state.calibrating is not None:
        assert state.drawn < state.run
        assert not queues.qpu
        assert queues.session is None
    kinds = [kind for kind, _ in state.scheduled] + [*state.due]
    kinds += [] if state.calibrating is None else [state.calibrating]
    assert len(kinds) == len(set(kinds))


def _check_nothing_idles(scheduler: Scheduler, queues: BackendQueues) -> None:
    """Nothing waits for a lane or the QPU that may have it (semantics 2.1, decisions 12)."""
    jobs = _jobs_on(scheduler, queues)
    state = scheduler.index.states[queues.backend.name]
    calibrates = state.calibrating is not None or (state.due and queues.session is None)
    if queues.has_free_qpu and not calibrates:
        assert not [job for job in jobs if job.stage is Stage.READY]
    # An instance at its limit waits for its window; its active workloads go on (semantics 5.5).
    waits = {j.id for j in _standing(scheduler, queues) if scheduler.ledger.is_limited(j.instance)}
    queued = sorted(
        (j for j in jobs if j.status is JobStatus.QUEUED and j.id not in waits),
        key=lambda j: j.seq,
    )
    if not queues.has_free_lane or not queued:
        return
    if queues.session is not None:
        assert all(job.workload_id != queues.session for job in queued)
        return
    if state.status is not BackendStatus.ONLINE:
        return
    # Whatever waits beside a free lane waits for a session that is next in line, which itself waits
    # for others to leave; and nothing that an active batch had queued before waits.
    assert queues.drain is not None, f"{queued[0].id} waits beside a free lane"
    assert queues.lanes or calibrates, "a session that is next waits for nothing but empty lanes"
    drain_seq = scheduler.workloads[queues.drain].drain_seq
    assert drain_seq is not None
    for job in queued:
        workload = scheduler.index.workload_of(job)
        if workload is not None and workload.state is WorkloadState.ACTIVE:
            assert policy.is_held_by_drain(job, drain_seq)
