"""Runs a trace through the scheduler: a heap of what happens next instead of a clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import assert_never

from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Command,
    Event,
    JobSubmitted,
    Refusal,
    Restarted,
    RunCalibration,
    RunStage,
    StageEnded,
    StageFailed,
    StopJob,
    Tick,
    WorkloadOpened,
)
from queuebit.core.model import (
    FINAL,
    BackendState,
    Job,
    Reason,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler
from queuebit.simulate.trace import Entry, Trace

# When nothing but time has passed for so long, what still waits will wait for ever. More than the
# longest TTL and than the window of 28 days after which an instance may run jobs again.
PATIENCE_MS = 60 * 86_400_000

FAILURE = Reason(code=1000, message="The trace says that it fails.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRun:
    """A calibration, which had the QPU of a backend."""

    backend: str
    kind: str
    started_at: int
    ended_at: int


@dataclass(slots=True, kw_only=True)
class History:
    """What came of a trace. Times are in ms since its start."""

    trace: Trace
    jobs: dict[str, Job] = field(default_factory=dict)
    """Every job that was accepted, by id, in the order of submission."""
    workloads: dict[str, Workload] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    """Jobs that were not accepted, by id."""
    calibrations: list[CalibrationRun] = field(default_factory=list)
    events: int = 0
    """How many the scheduler handled."""


Watch = Callable[[Event, Scheduler, int], None]
"""Is shown every event that was handled, the scheduler after it, and when; only looks."""


def simulate(trace: Trace, watch: Watch | None = None) -> History:
    """Let everything in `trace` happen, to the end of the last job and workload."""
    return _Simulation(trace, watch).run()


def make_scheduler(trace: Trace) -> Scheduler:
    """A scheduler for the backends and instances of `trace`."""
    backends = [
        replace(machine.backend, name=name) for machine in trace.machines for name in machine.names
    ]
    return Scheduler(backends, instances=trace.instances)


class _Simulation:
    """One run."""

    def __init__(self, trace: Trace, watch: Watch | None) -> None:
        self._watch = watch
        self._history = History(trace=trace)
        self._scheduler = make_scheduler(trace)
        self._now = 0
        self._works = {event.job_id: work for event, work in trace.submissions()}
        self._copies = {
            machine.backend.name: machine.names for machine in trace.machines if machine.copies > 1
        }
        self._loads = {name: 0 for names in self._copies.values() for name in names}
        """Unfinished jobs and unclosed workloads, of backends that have copies."""
        self._followers: dict[str, list[tuple[int, Entry]]] = {}
        """Entries that wait for the end of a job."""
        self._missing: dict[int, int] = {}
        """For how many jobs an entry still waits, by its place in the trace."""
        self._next: list[tuple[int, int, Entry | Event]] = []
        """When, in which order at the same instant, what."""
        self._order = len(trace.entries)
        for place, entry in enumerate(trace.entries):
            self._expect(place, entry)
        heapify(self._next)

    def run(self) -> History:
        """Let everything happen."""
        heap = self._next
        scheduler = self._scheduler
        latest = 0  # when something other than calibrations and time has happened
        self._take(Restarted())  # as a service does: plans the calibrations
        while True:
            due = scheduler.next_deadline()
            if heap and (due is None or heap[0][0] <= due):
                self._now, _, news = heappop(heap)
                if not isinstance(news, CalibrationEnded):
                    latest = self._now
                for event in self._events(news):
                    self._take(event)
            elif due is not None and due <= latest + PATIENCE_MS and self._has_unfinished():
                self._now = due
                self._take(Tick())
            else:
                return self._history

    def _has_unfinished(self) -> bool:
        return bool(self._scheduler.jobs or self._scheduler.workloads)

    def _expect(self, place: int, entry: Entry) -> None:
        """Note when an entry happens: at an instant, or after jobs."""
        jobs = set(entry.after)
        if not jobs:
            self._next.append((entry.delay_ms, place, entry))
            return
        self._missing[place] = len(jobs)
        for job_id in jobs:
            self._followers.setdefault(job_id, []).append((place, entry))

    def _events(self, news: Entry | Event) -> Sequence[Event]:
        """What the scheduler is told."""
        if not isinstance(news, Entry):
            return (news,)
        event = news.event
        if isinstance(event, BackendStatusSet):
            names = self._copies.get(event.backend, [event.backend])
            return [replace(event, backend=name) for name in names]
        if isinstance(event, JobSubmitted | WorkloadOpened) and event.backend in self._copies:
            return (replace(event, backend=self._copy_for(event)),)
        return (event,)

    def _copy_for(self, event: JobSubmitted | WorkloadOpened) -> str:
        """The backend of the job's workload, or the least busy one."""
        if isinstance(event, JobSubmitted) and event.workload_id in self._history.workloads:
            return self._history.workloads[event.workload_id].backend
        return min(self._copies[event.backend], key=self._loads.__getitem__)

    def _take(self, event: Event) -> None:
        """Have the scheduler decide, and let that come true."""
        step = self._scheduler.handle(event, self._now)
        self._history.events += 1
        for record in step.changed.values():
            self._note(record)
        for command in step.commands:
            self._carry_out(command)
        if step.refusal is not None and isinstance(event, JobSubmitted):
            self._history.refused[event.job_id] = step.refusal
            self._wake_followers(event.job_id, self._now)  # its client has an answer
        if self._watch is not None:
            self._watch(event, self._scheduler, self._now)

    def _note(self, record: Record) -> None:
        if isinstance(record, BackendState):
            return
        if isinstance(record, Job):
            is_new = record.id not in self._history.jobs
            self._history.jobs[record.id] = record
            is_over = record.status in FINAL
            if is_over:
                assert record.ended_at is not None
                self._wake_followers(record.id, record.ended_at)
        else:
            is_new = record.id not in self._history.workloads
            self._history.workloads[record.id] = record
            is_over = record.state is WorkloadState.CLOSED
        if record.backend in self._loads:
            self._loads[record.backend] += is_new - is_over

    def _wake_followers(self, job_id: str, ended_at: int) -> None:
        for place, entry in self._followers.pop(job_id, ()):
            self._missing[place] -= 1
            if not self._missing[place]:
                at = max(self._now, ended_at + entry.delay_ms)
                heappush(self._next, (at, place, entry))

    def _carry_out(self, command: Command) -> None:
        """Note when what the scheduler has ordered will be done."""
        match command:
            case RunStage():
                duration_ms, news = self._outcome(command)
                self._order += 1
                heappush(self._next, (self._now + duration_ms, self._order, news))
            case RunCalibration():
                self._calibrate(command)
            case StopJob():
                pass  # news of its stage will come, and the scheduler ignores it
            case _:  # pragma: no cover - mypy sees to it
                assert_never(command)

    def _calibrate(self, command: RunCalibration) -> None:
        ended_at = self._now + command.lasts_ms
        self._history.calibrations.append(
            CalibrationRun(
                backend=command.backend,
                kind=command.kind,
                started_at=self._now,
                ended_at=ended_at,
            )
        )
        self._order += 1
        news = CalibrationEnded(backend=command.backend, run=command.run)
        heappush(self._next, (ended_at, self._order, news))

    def _outcome(self, command: RunStage) -> tuple[int, StageEnded | StageFailed]:
        """How long a stage lasts, and what comes of it."""
        work = self._works[command.job_id]
        match command.stage:
            case Stage.PREPARE:
                duration_ms = work.prepare_ms
            case Stage.QUANTUM:
                duration_ms = work.quantum_ms
            case _:
                duration_ms = work.finish_ms
        if command.stage is work.fails_in:
            return duration_ms, StageFailed(
                job_id=command.job_id,
                run=command.run,
                stage=command.stage,
                reason=FAILURE,
                service_fault=work.service_fault,
            )
        return duration_ms, StageEnded(
            job_id=command.job_id,
            run=command.run,
            stage=command.stage,
            estimated_ms=work.usage_ms if command.stage is Stage.PREPARE else None,
            usage_ms=work.usage_ms if command.stage is Stage.QUANTUM else 0,
        )
