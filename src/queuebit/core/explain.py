"""Why a job or a workload waits: one rule, one sentence. Looking changes nothing.

What belongs to other instances is counted and never named.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from queuebit.core import calibrations, policy
from queuebit.core.ahead import Ahead, ahead_of_queued, ahead_of_ready
from queuebit.core.model import (
    BackendStatus,
    Job,
    JobStatus,
    Mode,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler


class Hold(StrEnum):
    """The rule that holds a job back."""

    NO_BACKEND = "backend not configured"
    SESSION_ACTIVE = "session active"
    BACKEND_PAUSED = "backend paused"
    BACKEND_OFFLINE = "backend offline"
    CALIBRATION = "calibration"
    QPU_BUSY = "QPU busy"
    LANES_BUSY = "lanes busy"
    BATCHES_FIRST = "active batches first"
    HELD_BACK = "held back"
    SESSION_NEXT = "session next in line"
    DRAINING = "waits for empty lanes"
    USAGE_LIMIT = "usage limit"
    BEHIND_OLDEST = "behind its workload's oldest job"
    FAIR_SHARE = "fair share"


SOURCES = {
    Hold.NO_BACKEND: "decisions 23",
    Hold.SESSION_ACTIVE: "semantics 2.4",
    Hold.BACKEND_PAUSED: "semantics 2.8",
    Hold.BACKEND_OFFLINE: "semantics 2.8",
    Hold.CALIBRATION: "decisions 6",
    Hold.QPU_BUSY: "semantics 2.6, decisions 14",
    Hold.LANES_BUSY: "semantics 2.1",
    Hold.BATCHES_FIRST: "semantics 2.3, decisions 13",
    Hold.HELD_BACK: "decisions 12",
    Hold.SESSION_NEXT: "decisions 12",
    Hold.DRAINING: "decisions 12",
    Hold.USAGE_LIMIT: "decisions 5",
    Hold.BEHIND_OLDEST: "semantics 2.2",
    Hold.FAIR_SHARE: "semantics 2.2, decisions 15",
}
"""Where each rule stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why something waits, as one rule; or what it does instead of waiting."""

    hold: Hold | None = None  # None: it waits for nothing
    reason: str  # sentences for its user
    position: int | None = None  # 1: next; None: it stands in no line
    ahead: Ahead = field(default_factory=Ahead)
    until: int | None = None  # when time alone ends this at the latest; None: time does not

    @property
    def source(self) -> str | None:
        """Where the rule stands; None without a rule."""
        return None if self.hold is None else SOURCES[self.hold]


def explain(scheduler: Scheduler, job_id: str) -> Explanation | None:
    """Why a job waits, or what it does; None if it is final or unknown."""
    job = scheduler.jobs.get(job_id)
    if job is None:
        return None
    if job.status is JobStatus.QUEUED:
        return _Case(scheduler, job).queued()
    if job.stage is Stage.READY:
        return _Case(scheduler, job).ready()
    assert job.stage is not None
    return Explanation(reason=_DOINGS[job.stage])


def explain_workload(scheduler: Scheduler, workload_id: str) -> Explanation | None:
    """Why the next job of a workload waits, or what the workload does; None if it is closed."""
    workload = scheduler.workloads.get(workload_id)
    if workload is None:
        return None
    oldest = scheduler.index.oldest_queued(workload_id)
    if oldest is None:
        until = policy.deadline(workload, has_queued=False)
        return Explanation(reason=_doing(scheduler, workload), until=until)
    told = _Case(scheduler, oldest).queued()
    return replace(told, reason=f"Its next job is {oldest.id}. {told.reason}")


_DOINGS = {
    Stage.PREPARE: "It is being prepared for the QPU.",
    Stage.QUANTUM: "It has the QPU.",
    Stage.FINISH: "It has left the QPU, and its result is being made.",
}


def _doing(scheduler: Scheduler, workload: Workload) -> str:
    """What a workload without queued jobs does."""
    running = scheduler.index.unfinished[workload.id]
    if running:
        return f"It is active: {_jobs(running, 'is', 'are')} running."
    match workload.state:
        case WorkloadState.OPEN:
            return "It has had no job yet, and is closed unless one comes."
        case WorkloadState.ACTIVE:
            return "It is active and has no job; unless one comes it goes inactive."
        case _:
            return "It is inactive: its next job stands in the normal queue."


class _Case:
    """One waiting job and what surrounds it."""

    def __init__(self, scheduler: Scheduler, job: Job) -> None:
        self._scheduler = scheduler
        self._job = job
        self._index = scheduler.index
        self._queues = self._index.backends[job.backend]
        self._state = self._index.states[job.backend]
        self._workload = self._index.workload_of(job)

    # -- for the QPU

    def ready(self) -> Explanation:
        """Why a job that is ready has not got the QPU."""
        name, state = self._job.backend, self._state
        ahead = ahead_of_ready(self._scheduler, self._job)
        if not self._queues.backend.qpu_slots:
            return self._told(Hold.NO_BACKEND, self._unconfigured(), ahead)
        if state.calibrating is not None:
            reason = f"The QPU of {name} is being calibrated ({state.calibrating})."
            return replace(self._told(Hold.CALIBRATION, reason, ahead), until=self._calibrated_at())
        if state.due and self._queues.session is None:
            reason = f"A calibration ({state.due[0]}) is due, and goes first on the QPU of {name}."
            return self._told(Hold.CALIBRATION, reason, ahead)
        reason = f"The QPU of {name} is busy with {self._whose(self._queues.qpu)}."
        if ahead.ready:
            reason += f" {_jobs(ahead.ready, 'is', 'are')} ready and before it in line."
        return self._told(Hold.QPU_BUSY, reason, ahead)

    # -- for a lane

    def queued(self) -> Explanation:
        """Why a queued job has not started: the first rule that keeps it, in the core's order."""
        ahead = ahead_of_queued(self._scheduler, self._job)
        queues, workload = self._queues, self._workload
        if not queues.backend.lanes:
            return self._told(Hold.NO_BACKEND, self._unconfigured(), ahead)
        if queues.session is not None and queues.session != self._job.workload_id:
            return self._session_active(self._index.workloads[queues.session], ahead)
        if queues.session is None and self._state.status is not BackendStatus.ONLINE:
            return self._not_online(ahead)
        if workload is None or workload.state is not WorkloadState.ACTIVE:
            return self._standing(ahead)
        if self._job.id not in queues.held:
            return self._lanes_busy(ahead)
        assert queues.drain is not None
        whose = self._session_of(self._index.workloads[queues.drain])
        reason = f"{whose} was next in line for {self._job.backend} before it came, and goes first."
        return self._told(Hold.HELD_BACK, reason, ahead)

    def _not_online(self, ahead: Ahead) -> Explanation:
        name, state = self._job.backend, self._state
        is_paused = state.status is BackendStatus.PAUSED
        hold = Hold.BACKEND_PAUSED if is_paused else Hold.BACKEND_OFFLINE
        reason = f"{name} is {state.status} and starts no jobs: {state.status_reason}."
        return self._told(hold, reason, ahead)

    def _standing(self, ahead: Ahead) -> Explanation:
        """Why a job that jumps no queue waits in the normal one."""
        queues, workload = self._queues, self._workload
        if self._scheduler.ledger.is_limited(self._job.instance):
            return self._limited(ahead)
        if workload is not None:
            oldest = self._index.oldest_queued(workload.id)
            assert oldest is not None
            if oldest != self._job:
                told = _Case(self._scheduler, oldest).queued()
                reason = (
                    f"Its {_mode(workload)} {workload.id} is not active, and stands in the queue "
                    f"with its oldest job {oldest.id}. {told.reason}"
                )
                return replace(self._told(Hold.BEHIND_OLDEST, reason, ahead), until=told.until)
            if workload.id == queues.drain:
                return self._draining(ahead)
        if queues.drain is not None:
            whose = self._session_of(self._index.workloads[queues.drain])
            reason = f"{whose} is next in line for {self._job.backend} and {self._waits_for()}."
            return self._told(Hold.SESSION_NEXT, reason, ahead)
        return self._lanes_busy(ahead)

    def _lanes_busy(self, ahead: Ahead) -> Explanation:
        """All lanes are taken; who gets the next one that is free."""
        name, lanes = self._job.backend, self._queues.backend.lanes
        busy = f"All {lanes} lanes" if lanes > 1 else "The only lane"
        own = [id_ for id_ in self._queues.lanes if self._is_own(self._index.jobs[id_])]
        reason = f"{busy} of {name} {'are' if lanes > 1 else 'is'} busy"
        reason += f", {len(own)} with jobs of your instance." if own else "."
        is_own_batch = self._workload is not None and self._workload.state is WorkloadState.ACTIVE
        if ahead.batches and not is_own_batch:
            first = _jobs(ahead.batches, "goes", "go")
            reason += f" {first} first because their batches are active."
            return self._told(Hold.BATCHES_FIRST, reason, ahead)
        if ahead.fairer:
            first = _jobs(ahead.fairer, "goes", "go")
            reason += f" {first} first, of instances that have used less of their allocation."
            return self._told(Hold.FAIR_SHARE, reason, ahead)
        first = _jobs(ahead.total, "goes", "go") if ahead.total else "No other job goes"
        reason += f" {first} first."
        return self._told(Hold.LANES_BUSY, reason, ahead)

    def _session_active(self, session: Workload, ahead: Ahead) -> Explanation:
        has_queued = self._index.has_queued(session.id)
        reason = (
            f"{self._session_of(session)} has {session.backend} for itself "
            "until it goes inactive or is closed."
        )
        told = self._told(Hold.SESSION_ACTIVE, reason, ahead)
        return replace(told, until=policy.deadline(session, has_queued=has_queued))

    def _draining(self, ahead: Ahead) -> Explanation:
        """The session of the job is next in line."""
        reason = f"Its session is next in line for {self._job.backend} and {self._waits_for()}."
        if self._queues.lanes:
            return self._told(Hold.DRAINING, reason, ahead)
        return replace(self._told(Hold.CALIBRATION, reason, ahead), until=self._calibrated_at())

    def _calibrated_at(self) -> int | None:
        """When all calibrations end that have the QPU or are due; None: none has it yet."""
        state, backend = self._state, self._queues.backend
        at = calibrations.ends_at(state, backend)
        more_ms = sum(c.lasts_ms for c in backend.calibrations if c.kind in state.due)
        return None if at is None else at + more_ms

    def _limited(self, ahead: Ahead) -> Explanation:
        ledger = self._scheduler.ledger
        instance = ledger.instances[self._job.instance]
        assert instance.limit_ms is not None
        used_ms = ledger.so_far_ms(instance.id)
        reason = (
            f"Your instance has used {used_ms / 1000:g} s of QPU time, and may use "
            f"{instance.limit_ms / 1000:g} s; its jobs wait "
        )
        until = None
        if instance.window_ms is None:
            reason += "until the limit is raised."
        else:
            reason += "until enough of that is older than its window."
            until = self._relieved_at(instance.limit_ms, instance.window_ms)
        return replace(self._told(Hold.USAGE_LIMIT, reason, ahead), until=until)

    def _relieved_at(self, limit_ms: int, window_ms: int) -> int | None:
        """When enough of the instance's usage has left its window; None: never, the limit is 0."""
        ledger, instance = self._scheduler.ledger, self._job.instance
        left_ms = ledger.so_far_ms(instance)
        for charge in ledger.charges():  # by the hour, the oldest of an instance first
            if charge.instance == instance:
                left_ms -= charge.ms
                if left_ms < limit_ms:
                    return charge.at + 1 + window_ms
        return None

    # -- words

    def _waits_for(self) -> str:
        """What the session that is next in line waits for."""
        if self._queues.lanes:
            return f"starts when its lanes are empty; {_jobs(len(self._queues.lanes))} still run"
        kind = self._state.calibrating or self._state.due[0]
        return f"starts when its QPU is calibrated ({kind})"

    def _told(self, hold: Hold, reason: str, ahead: Ahead) -> Explanation:
        return Explanation(hold=hold, reason=reason, position=ahead.total + 1, ahead=ahead)

    def _unconfigured(self) -> str:
        return f"{self._job.backend} is not configured any more; the job waits until it is again."

    def _is_own(self, record: Job | Workload) -> bool:
        return record.instance == self._job.instance

    def _session_of(self, session: Workload) -> str:
        return f"Session {session.id}" if self._is_own(session) else "A session of another instance"

    def _whose(self, job_ids: set[str]) -> str:
        """Name jobs of the same instance, count the others."""
        jobs = sorted((self._index.jobs[id_] for id_ in job_ids), key=lambda job: job.seq)
        own = [f"job {job.id}" for job in jobs if self._is_own(job)]
        others = len(jobs) - len(own)
        if others:
            own.append(f"{_jobs(others)} of other instances")
        return " and ".join(own)


def _jobs(count: int, one: str = "", many: str = "") -> str:
    """`count` jobs, and the verb that goes with so many."""
    return f"1 job {one}".rstrip() if count == 1 else f"{count} jobs {many}".rstrip()


def _mode(workload: Workload) -> str:
    return "batch" if workload.mode is Mode.BATCH else "session"
