"""What came of a simulation, in numbers: waits, utilisation, usage. Times are in seconds."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from queuebit.core.model import FINAL, Job, JobStatus, Mode, Workload
from queuebit.core.usage import workload_usage_ms
from queuebit.simulate.simulation import History

JOB, BATCH, SESSION = "job", "batch", "session"
MODES = (JOB, BATCH, SESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How some durations spread, in seconds; `p95`: 95% are no longer. None: there are none."""

    mean: float | None = None
    median: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Jobs that are told of together."""

    jobs: int = 0
    wait_s: Spread = field(default_factory=Spread)
    """From submission to start, of jobs that started."""
    total_s: float | None = None
    """From the first submission to the last end. None: no job has ended."""
    usage_s: float = 0
    """QPU time charged; a session's is its active time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """How much of a backend's time was used, from the first submission to the last end: 0 to 1.

    None: no time has passed, or there is no such backend.
    """

    qpu: float | None = None
    """By jobs."""
    calibrating: float | None = None
    """By calibrations; the rest of the time the QPU is idle."""
    lanes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One simulation in numbers."""

    name: str
    makespan_s: float | None
    """From the first submission to the last end. None: no job has ended."""
    completed: int
    failed: int
    cancelled: int
    refused: int
    """Jobs that were not accepted: their workload was closed, or the like."""
    unfinished: int
    """Jobs that would wait for ever."""
    all: Group
    turnaround_s: Spread
    """From submission to end, of jobs that completed."""
    by_mode: dict[str, Group]
    by_instance: dict[str, Group]
    by_backend: dict[str, Busy]
    events: int
    """How many the scheduler handled."""


def make_report(name: str, history: History) -> Report:
    """Add everything up."""
    jobs = list(history.jobs.values())
    statuses = Counter(job.status for job in jobs)
    modes = {workload.id: _mode(workload) for workload in history.workloads.values()}
    completed = [job for job in jobs if job.status is JobStatus.COMPLETED]
    return Report(
        name=name,
        makespan_s=_total_s(jobs),
        completed=len(completed),
        failed=statuses[JobStatus.FAILED],
        cancelled=statuses[JobStatus.CANCELLED],
        refused=len(history.refused),
        unfinished=sum(job.status not in FINAL for job in jobs),
        all=_group(jobs, history.workloads.values(), modes),
        turnaround_s=spread((job.ended_at or 0) - job.created_at for job in completed),
        by_mode=_groups(
            history, modes, lambda job: modes.get(job.workload_id or "", JOB), _mode, MODES
        ),
        by_instance=_groups(history, modes, lambda job: job.instance, lambda w: w.instance),
        by_backend=_busy(history),
        events=history.events,
    )


def spread(durations_ms: Iterable[int]) -> Spread:
    """The spread of durations given in ms."""
    ordered = sorted(durations_ms)
    if not ordered:
        return Spread()
    return Spread(
        mean=round(sum(ordered) / len(ordered) / 1_000, 3),
        median=_percentile_s(ordered, 0.5),
        p95=_percentile_s(ordered, 0.95),
        max=ordered[-1] / 1_000,
    )


def _percentile_s(ordered_ms: Sequence[int], share: float) -> float:
    """The smallest that at least `share` of all do not exceed."""
    return ordered_ms[math.ceil(share * len(ordered_ms)) - 1] / 1_000


def _mode(workload: Workload) -> str:
    return BATCH if workload.mode is Mode.BATCH else SESSION


def _groups(
    history: History,
    modes: dict[str, str],
    of_job: Callable[[Job], str],
    of_workload: Callable[[Workload], str],
    keys: Sequence[str] = (),
) -> dict[str, Group]:
    """Jobs and workloads in groups, the largest usage first or in the order of `keys`."""
    jobs: dict[str, list[Job]] = {key: [] for key in keys}
    workloads: dict[str, list[Workload]] = {key: [] for key in keys}
    for job in history.jobs.values():
        jobs.setdefault(of_job(job), []).append(job)
    for workload in history.workloads.values():
        workloads.setdefault(of_workload(workload), []).append(workload)
    groups = {
        key: _group(jobs.get(key, []), workloads.get(key, []), modes)
        for key in dict.fromkeys([*jobs, *workloads])
    }
    if keys:
        return {key: group for key, group in groups.items() if group.jobs or workloads[key]}
    return dict(sorted(groups.items(), key=lambda pair: (-pair[1].usage_s, pair[0])))


def _group(jobs: Sequence[Job], workloads: Iterable[Workload], modes: dict[str, str]) -> Group:
    # A session is charged for its active time, its jobs not besides (semantics 5.1).
    usage_ms = sum(job.usage_ms for job in jobs if modes.get(job.workload_id or "", JOB) != SESSION)
    usage_ms += sum(
        workload_usage_ms(workload, workload.closed_at or 0)
        for workload in workloads
        if workload.mode is Mode.SESSION
    )
    waits = (job.started_at - job.created_at for job in jobs if job.started_at is not None)
    return Group(
        jobs=len(jobs),
        wait_s=spread(waits),
        total_s=_total_s(jobs),
        usage_s=usage_ms / 1_000,
    )


def _total_s(jobs: Sequence[Job]) -> float | None:
    ends = [job.ended_at for job in jobs if job.ended_at is not None]
    return (max(ends) - min(job.created_at for job in jobs)) / 1_000 if ends else None


def _busy(history: History) -> dict[str, Busy]:
    """How busy each backend was."""
    jobs = list(history.jobs.values())
    makespan_ms = round((_total_s(jobs) or 0) * 1_000)
    qpu_ms: Counter[str] = Counter()
    lanes_ms: Counter[str] = Counter()
    for job in jobs:
        if job.ended_at is None or job.started_at is None:
            continue
        lanes_ms[job.backend] += job.ended_at - job.started_at
        if job.quantum_started_at is not None:
            left_at = job.ended_at if job.quantum_ended_at is None else job.quantum_ended_at
            qpu_ms[job.backend] += left_at - job.quantum_started_at
    calibrating_ms: Counter[str] = Counter()
    for run in history.calibrations:
        calibrating_ms[run.backend] += run.ended_at - run.started_at
    return {
        name: Busy(
            calibrating=_share(calibrating_ms[name], makespan_ms),
            qpu=_share(qpu_ms[name], makespan_ms * machine.backend.qpu_slots),
            lanes=_share(lanes_ms[name], makespan_ms * machine.backend.lanes),
        )
        for machine in history.trace.machines
        for name in machine.names
    }


def _share(part_ms: int, whole_ms: int) -> float | None:
    return round(part_ms / whole_ms, 4) if whole_ms else None
