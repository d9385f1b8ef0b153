"""The records that the scheduler decides about. Frozen: a change is a new record.

Sources: `semantics` and `decisions` are the pages of that name in docs/.
"""

from dataclasses import dataclass
from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job is in its life; the values are the API's own (semantics 1.2)."""

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    FAILED = "Failed"


class Stage(StrEnum):
    """Where a *running* job is. It holds one lane through all of them (semantics 2.1, 2.6)."""

    PREPARE = "prepare"  # classical work before the QPU, in a worker
    READY = "ready"  # waits for the QPU
    QUANTUM = "quantum"  # holds the QPU
    FINISH = "finish"  # classical work after the QPU, in a worker


class Mode(StrEnum):
    """How a workload's jobs share the backend; the values are the sessions API's own."""

    BATCH = "batch"
    SESSION = "dedicated"


class WorkloadState(StrEnum):
    """Where a batch or session is in its life (semantics 1.3)."""

    OPEN = "open"  # no job of it has started yet
    ACTIVE = "active"  # its jobs go first: exclusively (session) or with priority (batch)
    INACTIVE = "inactive"  # no priority; its next job stands in the normal queue
    CLOSED = "closed"  # runs nothing, accepts nothing


FINAL = frozenset({JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a job ended as it did; `code` is IBM's, 1000 to 9999."""

    message: str
    code: int
    solution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call of one primitive."""

    id: str
    seq: int  # order of arrival; breaks every tie
    instance: str  # who is charged
    user: str = ""  # whose budget inside the instance it uses
    backend: str
    workload_id: str | None = None  # None: job mode
    created_at: int
    status: JobStatus = JobStatus.QUEUED
    stage: Stage | None = None  # None: not running
    run: int = 0  # how often it was started; news of an earlier run is ignored
    limit_ms: int | None = None  # most QPU time that it may take; None: no limit
    estimated_ms: int | None = None  # QPU time that it should take; None: not known yet
    budget_ms: int = 0  # QPU time reserved for it; 0: its instance reserves none
    usage_ms: int = 0  # QPU time charged
    started_at: int | None = None  # None: not started
    ready_at: int | None = None  # None: not prepared yet
    quantum_started_at: int | None = None  # None: has not had the QPU
    quantum_ended_at: int | None = None  # None: has not left the QPU
    ended_at: int | None = None  # None: not final
    reason: Reason | None = None  # None: nothing to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A batch or a session: jobs that belong together on one backend."""

    id: str
    seq: int  # order of opening; breaks every tie
    instance: str
    backend: str
    mode: Mode
    created_at: int
    max_ttl_ms: int  # wall clock from the first job's start (semantics 3.1)
    interactive_ttl_ms: int  # how long it may idle while active (semantics 3.2)
    active_ttl_ms: int  # how long it may be active in all (semantics 3.3)
    unused_ttl_ms: int  # how long it may stay open without any unfinished job (decisions 16)
    ends_idle: bool = False  # a batch: the interactive TTL closes it (decisions 7)
    state: WorkloadState = WorkloadState.OPEN
    state_reason: str = "session_created"
    accepting_jobs: bool = True
    started_at: int | None = None  # first job's start; None: never started
    activated_at: int | None = None  # start of the latest active window; None: never active
    closed_at: int | None = None  # None: not closed
    last_job_started_at: int | None = None
    last_job_completed_at: int | None = None
    idle_since: int | None = None  # None: it has unfinished jobs, or is inactive
    active_ms: int = 0  # length of the active windows that have ended
    jobs_ms: int = 0  # QPU time charged to its jobs that have ended
    modelled_ms: int = 0  # of a session: QPU time of these beyond the real time that it took
    drain_seq: int | None = None  # next in line: only jobs up to this seq may start before it
    transitions: tuple[tuple[WorkloadState, int], ...] = ()  # every state it took, and when


CREDIT_MS = 600_000  # as much as IBM's Open plan gives in 28 days


class OnLimit(StrEnum):
    """What happens to an instance that has used all that it may (semantics 5.5)."""

    WAIT = "wait"  # what is submitted waits until the window rolls; active workloads go on
    STOP = "stop"  # running jobs are stopped and nothing is accepted (decisions 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Who is charged, and what they may use; configuration, not state."""

    id: str
    allocation_ms: int | None = None  # weight in the fair share; None: order of arrival alone
    limit_ms: int | None = None  # most QPU time in the window; None: no limit
    window_ms: int | None = None  # how far back usage counts; None: since `since`
    since: int = 0  # usage before it does not count
    on_limit: OnLimit = OnLimit.WAIT
    pending_max: int | None = None  # jobs queued or running at once; None: no limit
    is_hard: bool = False  # no job goes beyond a limit (decisions, hard limits)
    user_limit_ms: int | None = (
        None  # most QPU time of each user in the window; hard; None: no limit
    )
    credit_ms: int = CREDIT_MS  # most QPU time in the window that our faults may waste for free


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """QPU time charged to an instance: the one source of all that is said of usage."""

    instance: str
    at: int
    ms: int
    source: str = ""  # id of the job or session that it is for; "": a sum of several
    user: str = ""  # of the job; "": nobody's budget
    credited_ms: int = 0  # QPU time that our fault wasted, which is not charged


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Work on the QPU itself, done again and again; configuration, not state (semantics 2.7)."""

    kind: str
    every_ms: int  # from the end of one to when the next is due
    lasts_ms: int
    drift: float = 0.0  # how far it scatters the device's values; 0: it leaves them as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How a calibration left a backend: all that its properties are made of beside its snapshot.

    Whoever has this makes the same properties, in whatever process (devices/drift.py).
    """

    at: int  # end of the calibration
    drawn: int = 0  # number of the calibration that drew the values; 0: none has
    drift: float = 0.0  # and how far it scattered them


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What the scheduler needs to know of a backend; configuration, not state."""

    name: str
    lanes: int = 5  # jobs running at once (FAQ: "five for most backends today")
    qpu_slots: int = 1  # jobs on the QPU at once
    calibrations: tuple[Calibration, ...] = ()
    charges: bool = True  # what runs on it counts as usage; dry runs do not


class BackendStatus(StrEnum):
    """Whether a backend starts jobs; the values are the backends API's own (semantics 2.8)."""

    ONLINE = "online"
    PAUSED = "paused"  # accepts jobs and starts none; an active session goes on
    OFFLINE = "offline"  # the same, for maintenance


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """What becomes of a backend beside its jobs."""

    id: str  # the backend's name
    status: BackendStatus = BackendStatus.ONLINE
    status_reason: str = "available"
    scheduled: tuple[tuple[str, int], ...] = ()  # kinds of calibration, and when each is due
    due: tuple[str, ...] = ()  # kinds that wait for the QPU, first due first
    calibrating: str | None = None  # the kind that has the QPU; None: none has
    calibrating_since: int | None = None  # None: none has
    run: int = 0  # calibrations started; news of an earlier one is ignored
    calibrated_at: int | None = None  # end of the latest calibration; None: none yet
    drawn: int = 0  # `run` of the latest one that drew new values; 0: none has
    drift: float = 0.0  # and how far it scattered them

    @property
    def backend(self) -> str:
        """The backend's name, as other records have it."""
        return self.id

    @property
    def calibrated(self) -> Calibrated | None:
        """How the latest calibration left it; None: none yet."""
        if self.calibrated_at is None:
            return None
        return Calibrated(at=self.calibrated_at, drawn=self.drawn, drift=self.drift)


Record = Job | Workload | BackendState
