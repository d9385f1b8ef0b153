"""Traces as JSON Lines, one object a line: docs/simulate.md describes every field."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

VERSION: Final = 1
INSTANCE = "local"
BACKEND = "qpu"

SECONDS_MAX = 10**9  # some thirty years

# Of paid plans, as in `config.PlanConfig` (decisions 2, 11, 16).
MAX_TTL_S = 28_800
INTERACTIVE_TTL_S = 60
UNUSED_TTL_S = 1_800

Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=1_000)]
Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else (given,)),
]


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CalibrationLine(_Line):
    """What is done to a QPU again and again."""

    kind: Name = "calibration"
    every_s: Annotated[float, Field(ge=1, le=SECONDS_MAX)]
    lasts_s: Seconds


class MachineLine(_Line):
    """A backend in the first line."""

    name: Name
    lanes: Count = 5
    qpu_slots: Count = 1
    copies: Count = 1
    calibrations: tuple[CalibrationLine, ...] = ()


class InstanceLine(_Line):
    """Who is charged, in the first line."""

    name: Name
    allocation_s: Seconds | None = None
    limit_s: Seconds | None = None
    window_s: Annotated[float, Field(ge=1, le=SECONDS_MAX)] | None = 28 * 86_400
    since_s: Seconds = 0
    on_limit: Literal["wait", "stop"] = "wait"
    pending_max: Annotated[int, Field(ge=1)] | None = None


class TraceLine(_Line):
    """The first line, which may be left out."""

    version: Literal[1] = VERSION
    backends: tuple[MachineLine, ...] = ()
    instances: tuple[InstanceLine, ...] = ()


class SubmitLine(_Line):
    """A job."""

    job: Name
    workload: Name | None = None
    instance: Name | None = None
    backend: Name | None = None
    prepare_s: Seconds = 0
    quantum_s: Seconds
    finish_s: Seconds = 0
    usage_s: Seconds | None = None
    limit_s: Seconds | None = None
    fails_in: Literal["prepare", "quantum", "finish"] | None = None
    service_fault: bool = False


class OpenLine(_Line):
    """A batch or session."""

    workload: Name
    mode: Literal["batch", "session"]
    instance: Name = INSTANCE
    backend: Name = BACKEND
    max_ttl_s: Seconds = MAX_TTL_S
    interactive_ttl_s: Seconds = INTERACTIVE_TTL_S
    active_ttl_s: Seconds | None = None
    unused_ttl_s: Seconds = UNUSED_TTL_S
    ends_idle: bool = False


class CloseLine(_Line):
    """No more jobs; those there are run to their end."""

    workload: Name


class CancelLine(_Line):
    """A job, or a workload with the jobs that it has queued."""

    job: Name | None = None
    workload: Name | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.job is None) == (self.workload is None):
            raise ValueError("names a job or a workload")
        return self


class StatusLine(_Line):
    """An administrator pauses a backend, takes it into maintenance or brings it back."""

    backend: Name
    status: Literal["online", "paused", "offline"]
    reason: str = ""


class EntryLine(_Line):
    """One thing that a client does."""

    at: Seconds | None = None
    after: Names | None = None
    delay_s: Seconds | None = None
    submit: SubmitLine | None = None
    open: OpenLine | None = None
    close: CloseLine | None = None
    cancel: CancelLine | None = None
    status: StatusLine | None = None

    @model_validator(mode="after")
    def _is_one_thing_at_one_time(self) -> Self:
        if (self.at is None) == (self.after is None):
            raise ValueError("has either at or after")
        if self.delay_s is not None and self.after is None:
            raise ValueError("delay_s goes with after")
        things = (self.submit, self.open, self.close, self.cancel, self.status)
        if sum(thing is not None for thing in things) != 1:
            raise ValueError("has one of submit, open, close, cancel, status")
        return self


class HeadLine(_Line):
    """The line that holds nothing but the trace's own description."""

    trace: TraceLine
