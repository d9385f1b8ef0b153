"""What can happen (events, in), what to do about it (commands, out), and what is refused."""

from dataclasses import dataclass, field
from enum import StrEnum

from queuebit.core.model import BackendStatus, Charge, Instance, Mode, Reason, Record, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSubmitted:
    """A validated job arrived; its payload is stored."""

    job_id: str
    instance: str
    user: str = ""
    backend: str
    workload_id: str | None = None
    limit_ms: int | None = None
    estimated_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelRequested:
    """The user wants a job stopped, queued or running."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """A worker finished a stage.

    `estimated_ms` comes with the end of prepare, `usage_ms` with the end of quantum.
    """

    job_id: str
    run: int
    stage: Stage
    estimated_ms: int | None = None
    usage_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """A stage cannot be finished. `service_fault`: ours, which is credited (decisions 4)."""

    job_id: str
    run: int
    stage: Stage
    reason: Reason
    service_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOpened:
    """The user opened a batch or a session."""

    workload_id: str
    instance: str
    backend: str
    mode: Mode
    max_ttl_ms: int
    interactive_ttl_ms: int
    active_ttl_ms: int
    unused_ttl_ms: int
    ends_idle: bool = False  # a batch is closed by its interactive TTL, not deactivated


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCloseRequested:
    """No more jobs; those there are run to their end (PATCH accepting_jobs=false)."""

    workload_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCancelRequested:
    """No more jobs; queued ones are cancelled, running ones run on (DELETE .../close)."""

    workload_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatusSet:
    """An administrator pauses a backend, takes it into maintenance, or brings it back."""

    backend: str
    status: BackendStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEnded:
    """The QPU is calibrated and free again."""

    backend: str
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSet:
    """An instance is new, or may use something else than before.

    `charges` are what it was charged before, as far as it may count now.
    """

    instance: Instance
    charges: tuple[Charge, ...] = ()


@dataclass(frozen=True, slots=True)
class Restarted:
    """The service came back: whatever ran in its workers is lost."""

    last_at: int | None = None  # when it is last known to have been there; None: until just now


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed and nothing else happened."""


Event = (
    JobSubmitted
    | JobCancelRequested
    | StageEnded
    | StageFailed
    | WorkloadOpened
    | WorkloadCloseRequested
    | WorkloadCancelRequested
    | BackendStatusSet
    | CalibrationEnded
    | InstanceSet
    | Restarted
    | Tick
)


@dataclass(frozen=True, slots=True)
class RunStage:
    """Have a worker run this stage of the job."""

    job_id: str
    run: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop whatever a worker does for the job; nothing to do if nothing is done."""

    job_id: str


@dataclass(frozen=True, slots=True)
class RunCalibration:
    """Calibrate the QPU; tell when it is done."""

    backend: str
    run: int
    kind: str
    lasts_ms: int


Command = RunStage | StopJob | RunCalibration


class Rule(StrEnum):
    """Why an event was refused."""

    WORKLOAD_CLOSED = "workload closed"
    WRONG_BACKEND = "wrong backend"
    WRONG_INSTANCE = "wrong instance"
    NOT_CANCELLABLE = "not cancellable"
    USAGE_LIMIT = "usage limit"
    BUDGET = "budget"
    PENDING_LIMIT = "pending limit"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that changes nothing, and why."""

    rule: Rule
    message: str


@dataclass(slots=True)
class Step:
    """What one event decided. Save `changed` and `charges`, then carry out `commands`.

    A refusal is an output, not an exception: the time that came with a refused event may still
    have closed a workload, and that must be saved.
    """

    changed: dict[str, Record] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    refusal: Refusal | None = None
