"""What will happen if nothing new comes: a copy of the scheduler, run ahead of time.

The copy decides by the scheduler's own code; only how long stages last is guessed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush

from queuebit.core import calibrations
from queuebit.core.events import (
    CalibrationEnded,
    Command,
    Event,
    RunCalibration,
    RunStage,
    StageEnded,
    Step,
    Tick,
)
from queuebit.core.model import (
    FINAL,
    Backend,
    Charge,
    Instance,
    Job,
    JobStatus,
    Record,
    Stage,
)
from queuebit.core.scheduler import Scheduler

EVENTS_MAX = 20_000  # about 5,000 jobs, and a second of work
HORIZON_MS = 60 * 86_400_000  # longer than the longest TTL and than a window of 28 days

Durations = Callable[[Job, Stage], int]
"""How long a stage of a job lasts, in milliseconds from its start to its end."""


class Unknown(StrEnum):
    """Why there is no estimate."""

    NEVER = "as things stand it never happens"
    TOO_FAR = "too many other things happen first to look so far ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """All that a scheduler equal to another one is made of; costs little, records are frozen."""

    backends: tuple[Backend, ...]
    records: tuple[Record, ...]
    instances: tuple[Instance, ...]
    charges: tuple[Charge, ...]

    def scheduler(self) -> Scheduler:
        """A scheduler of its own in the same state."""
        return Scheduler(
            self.backends, self.records, instances=self.instances, charges=self.charges
        )


def copy(scheduler: Scheduler) -> Copy:
    """What `scheduler` is made of at present."""
    index = scheduler.index
    return Copy(
        backends=tuple(queues.backend for queues in index.backends.values()),
        records=(
            *scheduler.jobs.values(),
            *scheduler.workloads.values(),
            *index.states.values(),
        ),
        instances=tuple(scheduler.ledger.instances.values()),
        charges=tuple(scheduler.ledger.charges()),
    )


def estimate_start(scheduler: Scheduler, job_id: str, now: int, durations: Durations) -> int | None:
    """When a job starts if nothing new comes; None if that cannot be told."""
    found = Forward(copy(scheduler).scheduler(), now, durations).start_of(job_id)
    return found if isinstance(found, int) else None


class Forward:
    """Runs a scheduler ahead as far as it is asked to; the scheduler is its own from then on."""

    def __init__(
        self,
        scheduler: Scheduler,
        now: int,
        durations: Durations,
        *,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self._scheduler = scheduler
        self._durations = durations
        self._now = now
        self._last = now + HORIZON_MS
        self._events_left = events_max
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._relieved: dict[str, int] = {}
        """When an instance at its limit last had less used because its window rolled."""
        self._order = 0
        self._next: list[tuple[int, int, Event]] = []
        for at, event in self._under_way():
            self._order += 1
            self._next.append((max(at, now), self._order, event))
        heapify(self._next)

    def start_of(self, job_id: str) -> int | Unknown:
        """When a job that is not final gets, or got, its lane."""
        return self._look_for(job_id, self._started)

    def end_of(self, job_id: str) -> int | Unknown:
        """When a job that is not final ends."""
        return self._look_for(job_id, self._ended)

    def waits_for_limit(self, job: Job) -> bool:
        """Whether a queued job starts after its instance was at its usage limit, or never does."""
        start = self.start_of(job.id)
        if isinstance(start, Unknown):
            return start is Unknown.NEVER and self._scheduler.ledger.is_limited(job.instance)
        return self._relieved.get(job.instance, start + 1) <= start

    def _look_for(self, job_id: str, found: dict[str, int]) -> int | Unknown:
        while job_id not in found:
            if job_id in self._ended:  # without ever starting
                return Unknown.NEVER
            if not self._events_left:
                return Unknown.TOO_FAR
            if not self._advance():
                return Unknown.NEVER
        return found[job_id]

    def _advance(self) -> bool:
        """Let the next thing happen; False if nothing does any more."""
        due = self._scheduler.next_deadline()
        event: Event = Tick()
        if self._next and (due is None or self._next[0][0] <= due):
            self._now, _, event = heappop(self._next)
        elif due is None or due > self._last:
            return False
        else:
            self._now = max(self._now, due)
        self._events_left -= 1
        relief = self._scheduler.ledger.next_relief()
        if relief is not None and relief[0] <= self._now:
            self._relieved[relief[1]] = self._now
        self._take(self._scheduler.handle(event, self._now))
        return True

    def _take(self, step: Step) -> None:
        for record in step.changed.values():
            if isinstance(record, Job):
                self._note(record)
        for command in step.commands:
            self._carry_out(command)

    def _note(self, job: Job) -> None:
        if job.started_at is not None:
            self._started[job.id] = job.started_at
        if job.status in FINAL:
            assert job.ended_at is not None
            self._ended[job.id] = job.ended_at

    def _carry_out(self, command: Command) -> None:
        """Note when what the scheduler has ordered will be done; what it stops, it ignores."""
        match command:
            case RunStage():
                job = self._scheduler.jobs[command.job_id]
                self._expect(self._duration(job, command.stage), _ended(job, command.stage))
            case RunCalibration():
                event = CalibrationEnded(backend=command.backend, run=command.run)
                self._expect(command.lasts_ms, event)
            case _:
                pass

    def _expect(self, in_ms: int, event: Event) -> None:
        self._order += 1
        heappush(self._next, (self._now + in_ms, self._order, event))

    def _under_way(self) -> Iterable[tuple[int, Event]]:
        """When what goes on at present will be done; what is overdue is done at once."""
        jobs = [j for j in self._scheduler.jobs.values() if j.status is JobStatus.RUNNING]
        for job in sorted(jobs, key=lambda job: job.seq):
            self._note(job)
            stage = job.stage
            since = {
                Stage.PREPARE: job.started_at,
                Stage.QUANTUM: job.quantum_started_at,
                Stage.FINISH: job.quantum_ended_at,
            }
            if stage is not None and since.get(stage) is not None:
                began = since[stage]
                assert began is not None
                yield began + self._duration(job, stage), _ended(job, stage)
        for name, state in sorted(self._scheduler.index.states.items()):
            at = calibrations.ends_at(state, self._scheduler.index.backends[name].backend)
            if at is not None:
                yield at, CalibrationEnded(backend=name, run=state.run)

    def _duration(self, job: Job, stage: Stage) -> int:
        return max(0, self._durations(job, stage))


def _ended(job: Job, stage: Stage) -> StageEnded:
    """The news of a stage, with what is expected of the job."""
    expected_ms = job.estimated_ms
    return StageEnded(
        job_id=job.id,
        run=job.run,
        stage=stage,
        estimated_ms=expected_ms if stage is Stage.PREPARE else None,
        usage_ms=expected_ms or 0 if stage is Stage.QUANTUM else 0,
    )
